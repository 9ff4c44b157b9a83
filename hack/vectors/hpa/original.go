package main

import (
	"context"
	"time"
	_ "unsafe" // for go:linkname

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/kubernetes/pkg/controller/podautoscaler"
)

// The controller's own functions, under names that this program can call. Nothing is copied: the linker resolves them
// to the compiled package (original.s lets the compiler accept functions without a body).

//go:linkname reconcileAutoscaler k8s.io/kubernetes/pkg/controller/podautoscaler.(*HorizontalController).reconcileAutoscaler
func reconcileAutoscaler(a *podautoscaler.HorizontalController, ctx context.Context, hpa *autoscalingv2.HorizontalPodAutoscaler, key string) error

//go:linkname tolerancesForHpa k8s.io/kubernetes/pkg/controller/podautoscaler.(*HorizontalController).tolerancesForHpa
func tolerancesForHpa(a *podautoscaler.HorizontalController, hpa *autoscalingv2.HorizontalPodAutoscaler) podautoscaler.Tolerances

// The flags of kube-controller-manager, at their defaults.
const (
	resyncPeriod           = 15 * time.Second
	downscaleStabilization = 300 * time.Second
	defaultTolerance       = 0.1
	cpuInitialization      = 300 * time.Second
	initialReadinessDelay  = 30 * time.Second
)
