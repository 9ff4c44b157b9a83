package main

import (
	"context"
	"errors"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/informers"
	autoscalingclient "k8s.io/client-go/kubernetes/typed/autoscaling/v2"
	v1core "k8s.io/client-go/kubernetes/typed/core/v1"
	scaleclient "k8s.io/client-go/scale"
	"k8s.io/client-go/tools/cache"
	"k8s.io/kubernetes/pkg/controller/podautoscaler"
	metricsclient "k8s.io/kubernetes/pkg/controller/podautoscaler/metrics"
)

var errNoMetric = errors.New("no such metric")

// world stands in for the cluster: one scale target, its pods, and the metrics of the moment.
type world struct {
	pods       cache.Indexer
	replicas   int32
	podMetrics metricsclient.PodMetricsInfo
	external   map[string][]int64 // absent: the metric cannot be read
}

func newController(ctx context.Context, w *world) *podautoscaler.HorizontalController {
	factory := informers.NewSharedInformerFactory(nil, 0)
	pods := factory.Core().V1().Pods()
	w.pods = pods.Informer().GetIndexer()
	mapper := meta.NewDefaultRESTMapper([]schema.GroupVersion{{Group: "apps", Version: "v1"}})
	mapper.Add(schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}, meta.RESTScopeNamespace)
	return podautoscaler.NewHorizontalController(ctx, noEvents{}, w, noStatus{}, mapper, w,
		factory.Autoscaling().V2().HorizontalPodAutoscalers(), pods,
		resyncPeriod, downscaleStabilization, defaultTolerance, cpuInitialization, initialReadinessDelay)
}

// The scale subresource.

func (w *world) Scales(string) scaleclient.ScaleInterface { return scales{w: w} }

type scales struct {
	scaleclient.ScaleInterface
	w *world
}

func (s scales) Get(context.Context, schema.GroupResource, string, metav1.GetOptions) (*autoscalingv1.Scale, error) {
	return &autoscalingv1.Scale{
		Spec:   autoscalingv1.ScaleSpec{Replicas: s.w.replicas},
		Status: autoscalingv1.ScaleStatus{Replicas: s.w.replicas, Selector: "app=service"},
	}, nil
}

func (s scales) Update(_ context.Context, _ schema.GroupResource, scale *autoscalingv1.Scale, _ metav1.UpdateOptions) (*autoscalingv1.Scale, error) {
	s.w.replicas = scale.Spec.Replicas
	return scale, nil
}

// The metrics APIs.

func (w *world) GetResourceMetric(context.Context, v1.ResourceName, string, labels.Selector, string) (metricsclient.PodMetricsInfo, time.Time, error) {
	return w.copyOfPodMetrics(), time.Now(), nil
}

func (w *world) GetRawMetric(string, string, labels.Selector, labels.Selector) (metricsclient.PodMetricsInfo, time.Time, error) {
	return w.copyOfPodMetrics(), time.Now(), nil
}

func (w *world) GetObjectMetric(name string, _ string, _ *autoscalingv2.CrossVersionObjectReference, _ labels.Selector) (int64, time.Time, error) {
	return w.external[name][0], time.Now(), nil
}

func (w *world) GetExternalMetric(name string, _ string, _ labels.Selector) ([]int64, time.Time, error) {
	values, found := w.external[name]
	if !found {
		return nil, time.Time{}, errNoMetric
	}
	return values, time.Now(), nil
}

func (w *world) copyOfPodMetrics() metricsclient.PodMetricsInfo { // the calculator changes what it is given
	metrics := make(metricsclient.PodMetricsInfo, len(w.podMetrics))
	for name, metric := range w.podMetrics {
		metrics[name] = metric
	}
	return metrics
}

// Status updates and events go nowhere.

type noStatus struct{}

func (noStatus) HorizontalPodAutoscalers(string) autoscalingclient.HorizontalPodAutoscalerInterface {
	return noStatusUpdate{}
}

type noStatusUpdate struct {
	autoscalingclient.HorizontalPodAutoscalerInterface
}

func (noStatusUpdate) UpdateStatus(_ context.Context, hpa *autoscalingv2.HorizontalPodAutoscaler, _ metav1.UpdateOptions) (*autoscalingv2.HorizontalPodAutoscaler, error) {
	return hpa, nil
}

type noEvents struct{}

func (noEvents) Events(string) v1core.EventInterface { return noEvent{} }

type noEvent struct{ v1core.EventInterface }

func (noEvent) CreateWithEventNamespace(event *v1.Event) (*v1.Event, error) {
	return event, nil
}

func (noEvent) UpdateWithEventNamespace(event *v1.Event) (*v1.Event, error) {
	return event, nil
}

func (noEvent) PatchWithEventNamespace(event *v1.Event, _ []byte) (*v1.Event, error) {
	return event, nil
}
