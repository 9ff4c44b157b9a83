package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kubernetes/pkg/controller/podautoscaler"

	autoscalingdefaults "k8s.io/kubernetes/pkg/apis/autoscaling/v2"
)

const (
	loops = 800
	turns = 25
)

// loopCase is one HPA over time.
type loopCase struct {
	Min      int32     `json:"min"`
	Max      int32     `json:"max"`
	Behavior *behavior `json:"behavior"`
	Targets  []int64   `json:"targets"` // External metrics with an AverageValue, in thousandths
	Start    int32     `json:"start"`
	Turns    []any     `json:"turns"` // [seconds since the last, replicas that somebody else set or null, values, want]
}

// behavior is `spec.behavior` as written, before the API server fills in defaults.
type behavior struct {
	Up   *rules `json:"up,omitempty"`
	Down *rules `json:"down,omitempty"`
}

type rules struct {
	Window    *int32   `json:"window,omitempty"`
	Select    string   `json:"select,omitempty"`
	Tolerance *float64 `json:"tolerance,omitempty"`
	Policies  [][]any  `json:"policies,omitempty"` // type, value, period
}

func loopCases(ctx context.Context, controller *podautoscaler.HorizontalController, w *world) []loopCase {
	r := rand.New(rand.NewPCG(2, 36))
	if err := w.pods.Replace(nil, ""); err != nil {
		panic(err)
	}
	var cases []loopCase
	for i := range loops {
		cases = append(cases, recordLoop(ctx, r, controller, w, i))
	}
	return cases
}

func recordLoop(ctx context.Context, r *rand.Rand, controller *podautoscaler.HorizontalController, w *world, i int) loopCase {
	c := loopCase{Min: int32(1 + r.IntN(4))}
	c.Max = c.Min + int32(r.IntN(pick(r, []int{1, 10, 60, 300})))
	c.Start = int32(r.IntN(int(c.Max) + 4))
	hpa := &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("hpa-%d", i), Namespace: "loops"}}
	hpa.Spec.ScaleTargetRef = autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "service"}
	hpa.Spec.MinReplicas, hpa.Spec.MaxReplicas = &c.Min, c.Max
	if r.IntN(4) > 0 {
		hpa.Spec.Behavior, c.Behavior = anyBehavior(r)
	}
	for m := range 1 + r.IntN(3) {
		target := pick(r, []int64{1000, 14000, 700, 50000})
		c.Targets = append(c.Targets, target)
		hpa.Spec.Metrics = append(hpa.Spec.Metrics, autoscalingv2.MetricSpec{
			Type: autoscalingv2.ExternalMetricSourceType,
			External: &autoscalingv2.ExternalMetricSource{
				Metric: autoscalingv2.MetricIdentifier{Name: name(m)},
				Target: autoscalingv2.MetricTarget{
					Type: autoscalingv2.AverageValueMetricType, AverageValue: resource.NewMilliQuantity(target, resource.DecimalSI),
				},
			},
		})
	}
	autoscalingdefaults.SetDefaults_HorizontalPodAutoscaler(hpa)
	w.replicas = c.Start
	demand := float64(1 + r.IntN(int(c.Max))) // in replicas
	regular := r.IntN(3) > 0                  // every 15 s, as in reality
	for range turns {
		wait := 15.0
		if !regular || r.IntN(10) == 0 {
			wait = pick(r, []float64{0.25, 1, 5, 15, 30, 60, 300, 900})
		}
		var set any
		if r.IntN(25) == 0 {
			w.replicas = int32(r.IntN(int(c.Max) + 4))
			set = w.replicas
		}
		time.Sleep(seconds(wait))
		if r.IntN(3) == 0 {
			demand = min(max(demand*pick(r, []float64{0.1, 0.5, 0.85, 0.95, 1.05, 1.15, 1.7, 5}), 0.2), 2*float64(c.Max))
		}
		values := make([]any, len(c.Targets))
		w.external = map[string][]int64{}
		for m, target := range c.Targets {
			if r.IntN(15) == 0 {
				continue // cannot be read
			}
			value := int64(math.Round(float64(target) * demand * pick(r, []float64{0, 0.6, 0.9, 1, 1, 1, 1, 1.1})))
			values[m], w.external[name(m)] = value, []int64{value}
		}
		if err := reconcileAutoscaler(controller, ctx, hpa, hpa.Name); err != nil && len(w.external) == len(c.Targets) {
			panic(err) // with a metric that cannot be read an error is the answer; this is none
		}
		c.Turns = append(c.Turns, []any{wait, set, values, w.replicas})
	}
	return c
}

func anyBehavior(r *rand.Rand) (*autoscalingv2.HorizontalPodAutoscalerBehavior, *behavior) {
	spec, recorded := &autoscalingv2.HorizontalPodAutoscalerBehavior{}, &behavior{}
	if r.IntN(5) > 0 {
		spec.ScaleUp, recorded.Up = anyRules(r)
	}
	if r.IntN(5) > 0 {
		spec.ScaleDown, recorded.Down = anyRules(r)
	}
	return spec, recorded
}

func anyRules(r *rand.Rand) (*autoscalingv2.HPAScalingRules, *rules) {
	spec, recorded := &autoscalingv2.HPAScalingRules{}, &rules{}
	if r.IntN(3) > 0 {
		window := pick(r, []int32{0, 0, 15, 30, 45, 60, 300, 600})
		spec.StabilizationWindowSeconds, recorded.Window = &window, &window
	}
	if choice := pick(r, []string{"", "Max", "Max", "Min", "Min", "Disabled"}); choice != "" {
		policy := autoscalingv2.ScalingPolicySelect(choice)
		spec.SelectPolicy, recorded.Select = &policy, choice
	}
	if choice := pick(r, toleranceChoices); choice != "" {
		quantity := resource.MustParse(choice)
		value := quantity.AsApproximateFloat64()
		spec.Tolerance, recorded.Tolerance = &quantity, &value
	}
	for range r.IntN(4) {
		policy := autoscalingv2.HPAScalingPolicy{
			Type: autoscalingv2.PodsScalingPolicy, Value: pick(r, []int32{1, 2, 4, 10}),
			PeriodSeconds: pick(r, []int32{1, 15, 30, 60, 90, 600, 1800}),
		}
		if r.IntN(2) == 0 {
			policy.Type, policy.Value = autoscalingv2.PercentScalingPolicy, pick(r, []int32{1, 7, 10, 25, 50, 100, 200, 900})
		}
		spec.Policies = append(spec.Policies, policy)
		recorded.Policies = append(recorded.Policies, []any{policy.Type, policy.Value, policy.PeriodSeconds})
	}
	return spec, recorded
}
