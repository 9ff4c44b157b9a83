package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/kubernetes/pkg/controller/podautoscaler"
	metricsclient "k8s.io/kubernetes/pkg/controller/podautoscaler/metrics"
)

const (
	podCases     = 3000
	serviceCases = 2000
	namespace    = "test"
	readyFor     = 3590.0 // seconds, of an ordinary pod
)

var (
	toleranceChoices = []string{"", "", "", "0", "0.05", "0.2", "0.5"}
	// At, just inside and just outside the edges of the usual tolerances, and far away.
	ratioChoices = []float64{0, 0.3, 0.5, 0.89, 0.9, 0.91, 0.95, 0.99, 1, 1.01, 1.05, 1.09, 1.1, 1.11, 1.2, 1.5, 2, 2.7, 10}
)

// calculatorCase is one call. Times are in seconds before (negative) the call.
type calculatorCase struct {
	Kind       string     `json:"kind"`
	Current    int32      `json:"current"`
	Target     int64      `json:"target"`
	Tolerances [2]float64 `json:"tolerance"` // down, up
	Pods       []any      `json:"pods"`      // phase, started, ready, readyChanged, request, deleting; or just the request: ready for long
	Metrics    [][]any    `json:"metrics"`   // pod's index (one past the last: a pod that is not listed), value, at, window
	Usage      []int64    `json:"usage"`     // of the service
	Want       *int32     `json:"want"`      // null: the calculator returned an error
}

type generator struct {
	*rand.Rand
	ctx        context.Context
	controller *podautoscaler.HorizontalController
	calculator *podautoscaler.ReplicaCalculator
	w          *world
}

func calculatorCases(ctx context.Context, controller *podautoscaler.HorizontalController, w *world) []calculatorCase {
	g := generator{
		Rand: rand.New(rand.NewPCG(1, 36)), ctx: ctx, controller: controller, w: w,
		calculator: podautoscaler.NewReplicaCalculator(w, corelisters.NewPodLister(w.pods), cpuInitialization, initialReadinessDelay),
	}
	time.Sleep(2 * time.Hour) // so that pods can have a past
	var cases []calculatorCase
	for range podCases {
		cases = append(cases, g.podCase())
	}
	for range serviceCases {
		cases = append(cases, g.serviceCase())
	}
	return cases
}

// tolerances picks a pair and has the controller itself read it from an HPA, as only it can build the value.
func (g *generator) tolerances() (podautoscaler.Tolerances, [2]float64) {
	rules := func() (*autoscalingv2.HPAScalingRules, float64) {
		choice := pick(g.Rand, toleranceChoices)
		if choice == "" {
			return &autoscalingv2.HPAScalingRules{}, defaultTolerance
		}
		quantity := resource.MustParse(choice)
		return &autoscalingv2.HPAScalingRules{Tolerance: &quantity}, quantity.AsApproximateFloat64()
	}
	hpa := &autoscalingv2.HorizontalPodAutoscaler{}
	hpa.Spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{}
	var values [2]float64
	hpa.Spec.Behavior.ScaleDown, values[0] = rules()
	hpa.Spec.Behavior.ScaleUp, values[1] = rules()
	return tolerancesForHpa(g.controller, hpa), values
}

// podCase: metrics per pod, with pods in all conditions.
func (g *generator) podCase() calculatorCase {
	tolerances, values := g.tolerances()
	c := calculatorCase{
		Kind:       pick(g.Rand, []string{"utilization", "utilization", "cpu-value", "memory-utilization", "pods"}),
		Tolerances: values, Pods: []any{}, Metrics: [][]any{}, Usage: []int64{},
	}
	c.Target = int64(1 + g.IntN(160)) // per cent
	if c.Kind == "cpu-value" || c.Kind == "pods" {
		c.Target = pick(g.Rand, []int64{1, 70, 500, 1000, 14000, 100000})
	}
	count := g.IntN(13)
	c.Current = int32(max(0, count+g.IntN(5)-2))
	if g.IntN(20) == 0 {
		c.Current = int32(g.IntN(1000))
	}
	requests := pick(g.Rand, [][]int64{{1000}, {100}, {250, 500, 2000}})
	ratio := pick(g.Rand, ratioChoices)
	if g.IntN(50) == 0 {
		ratio *= -1
	}
	noise := pick(g.Rand, []float64{0, 0, 0.2, 1})
	trouble := pick(g.Rand, []float64{0, 0.1, 0.3, 0.6}) // share of pods that are not simply ready
	list := []*v1.Pod{}
	g.w.podMetrics = metricsclient.PodMetricsInfo{}
	for i := range count {
		request := pick(g.Rand, requests)
		pod := g.pod(i, request, g.Float64() < trouble)
		if g.IntN(300) == 0 {
			pod.Spec.Containers[0].Resources.Requests = nil
		}
		list = append(list, pod)
		c.Pods = append(c.Pods, row(pod))
		unit := float64(c.Target)
		if c.Kind == "utilization" || c.Kind == "memory-utilization" {
			unit = float64(c.Target*request) / 100
		}
		if pod.Status.Phase != v1.PodPending && g.Float64() < trouble/3 {
			continue // no sample
		}
		value := int64(math.Round(unit * ratio * (1 + noise*(2*g.Float64()-1))))
		g.metric(&c, pod, i, value)
	}
	if g.IntN(30) == 0 {
		g.metric(&c, nil, count, c.Target)
	}
	g.list(list)
	c.Want = g.callForPods(c, tolerances)
	return c
}

// metric takes a sample of a pod, often just about one window after its readiness changed.
func (g *generator) metric(c *calculatorCase, pod *v1.Pod, i int, value int64) {
	age, window := seconds(g.quarters(0, 60)), seconds(pick(g.Rand, []float64{0, 10, 15, 30, 60}))
	if pod != nil && len(pod.Status.Conditions) > 0 && g.IntN(3) == 0 {
		since := time.Since(pod.Status.Conditions[0].LastTransitionTime.Time)
		if since >= window && since < cpuInitialization {
			age = since - window + seconds(pick(g.Rand, []float64{0, 0.25, -0.25}))
		}
	}
	g.w.podMetrics[name(i)] = metricsclient.PodMetric{Timestamp: time.Now().Add(-age), Window: window, Value: value}
	c.Metrics = append(c.Metrics, []any{i, value, -age.Seconds(), window.Seconds()})
}

func (g *generator) callForPods(c calculatorCase, tolerances podautoscaler.Tolerances) *int32 {
	var replicas int32
	var err error
	switch c.Kind {
	case "utilization":
		replicas, _, _, _, err = g.calculator.GetResourceReplicas(g.ctx, c.Current, int32(c.Target), v1.ResourceCPU, tolerances, namespace, labels.Everything(), "")
	case "memory-utilization":
		replicas, _, _, _, err = g.calculator.GetResourceReplicas(g.ctx, c.Current, int32(c.Target), v1.ResourceMemory, tolerances, namespace, labels.Everything(), "")
	case "cpu-value":
		replicas, _, _, err = g.calculator.GetRawResourceReplicas(g.ctx, c.Current, c.Target, v1.ResourceCPU, tolerances, namespace, labels.Everything(), "")
	case "pods":
		replicas, _, _, err = g.calculator.GetMetricReplicas(c.Current, c.Target, "metric", tolerances, namespace, labels.Everything(), labels.Everything())
	}
	return result(replicas, err)
}

// serviceCase: one number (or a few that add up) for the whole service.
func (g *generator) serviceCase() calculatorCase {
	tolerances, values := g.tolerances()
	c := calculatorCase{
		Kind:    pick(g.Rand, []string{"external-value", "external-average", "object-value", "object-average"}),
		Current: int32(g.IntN(25)), Target: pick(g.Rand, []int64{1, 3, 1000, 1500, 14000, 100000}),
		Tolerances: values, Pods: []any{}, Metrics: [][]any{}, Usage: []int64{},
	}
	list := []*v1.Pod{}
	unit := c.Target
	if c.Kind == "external-average" || c.Kind == "object-average" {
		unit *= int64(max(c.Current, 1))
	} else {
		for i := range max(0, int(c.Current)+g.IntN(5)-2) {
			list = append(list, g.pod(i, 1000, g.IntN(5) == 0))
			c.Pods = append(c.Pods, row(list[i]))
		}
	}
	usage := int64(math.Round(float64(unit) * pick(g.Rand, ratioChoices)))
	switch g.IntN(20) {
	case 0:
		usage += g.Int64N(2*unit+1) - unit
	case 1:
		usage = -g.Int64N(12)
	case 2:
		if c.Kind == "external-average" || (c.Kind == "external-value" && c.Current > 0) {
			usage = math.MaxInt64 >> g.IntN(20) // far beyond what fits into a count
		}
	}
	c.Usage = []int64{usage}
	if c.Kind == "external-value" || c.Kind == "external-average" {
		for range g.IntN(3) {
			part := g.Int64N(1000)
			c.Usage[0] -= part
			c.Usage = append(c.Usage, part)
		}
	}
	g.list(list)
	g.w.external = map[string][]int64{"metric": c.Usage}
	c.Want = g.callForService(c, tolerances)
	return c
}

func (g *generator) callForService(c calculatorCase, tolerances podautoscaler.Tolerances) *int32 {
	var replicas int32
	var err error
	object, selector := &autoscalingv2.CrossVersionObjectReference{}, &metav1.LabelSelector{}
	switch c.Kind {
	case "external-value":
		replicas, _, _, err = g.calculator.GetExternalMetricReplicas(c.Current, c.Target, "metric", tolerances, namespace, selector, labels.Everything())
	case "external-average":
		replicas, _, _, err = g.calculator.GetExternalPerPodMetricReplicas(c.Current, c.Target, "metric", tolerances, namespace, selector)
	case "object-value":
		replicas, _, _, err = g.calculator.GetObjectMetricReplicas(c.Current, c.Target, "metric", tolerances, namespace, object, labels.Everything(), labels.Everything())
	case "object-average":
		replicas, _, _, err = g.calculator.GetObjectPerPodMetricReplicas(c.Current, c.Target, "metric", tolerances, namespace, object, labels.Everything())
	}
	return result(replicas, err)
}

// pod builds one that has been ready for long, or one in any other condition.
func (g *generator) pod(i int, request int64, trouble bool) *v1.Pod {
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name(i), Namespace: namespace}}
	pod.Spec.Containers = []v1.Container{{Name: "main", Resources: v1.ResourceRequirements{Requests: v1.ResourceList{
		v1.ResourceCPU:    *resource.NewMilliQuantity(request, resource.DecimalSI),
		v1.ResourceMemory: *resource.NewMilliQuantity(request, resource.DecimalSI),
	}}}}
	pod.Status.Phase = v1.PodRunning
	started, changed, status := 3600.0, readyFor, v1.ConditionTrue
	if trouble {
		pod.Status.Phase = pick(g.Rand, []v1.PodPhase{v1.PodRunning, v1.PodRunning, v1.PodRunning, v1.PodPending, v1.PodFailed})
		if g.IntN(8) == 0 {
			pod.DeletionTimestamp = &metav1.Time{Time: time.Now()}
		}
		// Around both limits, and the change of readiness before, at and after the initial delay.
		started = pick(g.Rand, []float64{300, 299.75, 300.25, g.quarters(0, 400), g.quarters(0, 40)})
		changed = max(0, started-pick(g.Rand, []float64{0, 30, 29.75, 30.25, g.quarters(0, 60), g.quarters(0, 400)}))
		status = pick(g.Rand, []v1.ConditionStatus{v1.ConditionTrue, v1.ConditionFalse})
	}
	if !trouble || g.IntN(10) > 0 {
		pod.Status.StartTime = &metav1.Time{Time: time.Now().Add(-seconds(started))}
	}
	if !trouble || g.IntN(10) > 0 {
		pod.Status.Conditions = []v1.PodCondition{{
			Type: v1.PodReady, Status: status, LastTransitionTime: metav1.Time{Time: time.Now().Add(-seconds(changed))},
		}}
	}
	return pod
}

func row(pod *v1.Pod) any {
	var started, ready, request any
	changed := 0.0
	if pod.Status.StartTime != nil {
		started = -time.Since(pod.Status.StartTime.Time).Seconds()
	}
	if len(pod.Status.Conditions) > 0 {
		ready = pod.Status.Conditions[0].Status == v1.ConditionTrue
		changed = -time.Since(pod.Status.Conditions[0].LastTransitionTime.Time).Seconds()
	}
	if quantity, found := pod.Spec.Containers[0].Resources.Requests[v1.ResourceCPU]; found {
		request = quantity.MilliValue()
	}
	if ready == true && changed == -readyFor && request != nil && pod.Status.Phase == v1.PodRunning && pod.DeletionTimestamp == nil {
		return request
	}
	return []any{pod.Status.Phase, started, ready, changed, request, pod.DeletionTimestamp != nil}
}

func (g *generator) list(pods []*v1.Pod) {
	items := make([]any, len(pods))
	for i, pod := range pods {
		items[i] = pod
	}
	if err := g.w.pods.Replace(items, ""); err != nil {
		panic(err)
	}
}

// quarters draws a multiple of 0.25 s: sums of those are exact in any arithmetic.
func (g *generator) quarters(from, to int) float64 {
	return float64(from) + float64(g.IntN(4*(to-from)+1))/4
}

func name(i int) string { return fmt.Sprintf("p%d", i) }

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

func result(replicas int32, err error) *int32 {
	if err != nil {
		return nil
	}
	return &replicas
}
