package main

import (
	"errors"
	"math"
	"math/rand/v2"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"knative.dev/serving/pkg/apis/autoscaling"
	autoscalingv1alpha1 "knative.dev/serving/pkg/apis/autoscaling/v1alpha1"
	"knative.dev/serving/pkg/autoscaler/config"
	"knative.dev/serving/pkg/autoscaler/metrics"
	"knative.dev/serving/pkg/reconciler/autoscaling/kpa/resources"
	metricresources "knative.dev/serving/pkg/reconciler/autoscaling/resources"
	"knative.dev/serving51/pkg/autoscaler/aggregation"
	"knative.dev/serving51/pkg/autoscaler/scaling"
)

const (
	loopRuns  = 200
	loopTicks = 75
)

// loopCase is one revision over time: the settings that its annotations make, a scrape every second, and a decision
// half a second after every second scrape.
type loopCase struct {
	Annotations map[string]string `json:"annotations"`
	Concurrency int64             `json:"concurrency"` // containerConcurrency
	Target      float64           `json:"target"`
	Window      float64           `json:"window"`
	PanicWindow float64           `json:"panicWindow"`
	Start       int               `json:"start"`
	Ticks       [][]any           `json:"ticks"` // [ready, what the two scrapes before found (null: failed), want (null: none)]
}

// collector does what the original's collector does with scrapes, on the original's windows. It is the one piece that
// is ours: the original cannot be built without its network client.
type collector struct {
	stable, panic *aggregation.TimedFloat64Buckets
}

func (c collector) record(now time.Time, concurrency float64) {
	c.stable.Record(now, concurrency)
	c.panic.Record(now, concurrency)
}

func (c collector) StableAndPanicConcurrency(_ types.NamespacedName, now time.Time) (float64, float64, error) {
	if c.stable.IsEmpty(now) {
		return 0, 0, metrics.ErrNoData
	}
	return c.stable.WindowAverage(now), c.panic.WindowAverage(now), nil
}

func (c collector) StableAndPanicRPS(types.NamespacedName, time.Time) (float64, float64, error) {
	return 0, 0, errors.New("nobody should ask for this")
}

func loopCases() []loopCase {
	r := rand.New(rand.NewPCG(3, 51))
	var cases []loopCase
	for range loopRuns {
		cases = append(cases, recordLoop(r))
	}
	return cases
}

func anyAnnotations(r *rand.Rand) map[string]string {
	annotations := map[string]string{}
	maybe := func(oneIn int, key string, values ...string) {
		if r.IntN(oneIn) == 0 {
			annotations[key] = pick(r, values...)
		}
	}
	maybe(2, autoscaling.WindowAnnotationKey, "6s", "25s", "30s", "60s", "90s")
	maybe(3, autoscaling.PanicWindowPercentageAnnotationKey, "1", "5", "15", "33.3", "50", "100")
	maybe(3, autoscaling.PanicThresholdPercentageAnnotationKey, "110", "150", "400", "1000")
	maybe(4, autoscaling.ScaleDownDelayAnnotationKey, "4s", "15s", "60s")
	maybe(4, autoscaling.ActivationScaleKey, "2", "5")
	maybe(4, autoscaling.TargetUtilizationPercentageKey, "50", "80", "100")
	return annotations
}

func recordLoop(r *rand.Rand) loopCase {
	defaults, err := config.NewConfigFromMap(nil)
	if err != nil {
		panic(err)
	}
	c := loopCase{Annotations: anyAnnotations(r), Concurrency: pick(r, int64(20), 20, 1, 100), Start: pick(r, 0, 1, 2, 10)}
	revision := &autoscalingv1alpha1.PodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: "vectors", Name: "revision", Annotations: c.Annotations},
		Spec:       autoscalingv1alpha1.PodAutoscalerSpec{ContainerConcurrency: c.Concurrency},
	}
	metric := metricresources.MakeMetric(revision, "service", defaults).Spec
	settings := scaling.DeciderSpec(resources.MakeDecider(revision, defaults).Spec)
	c.Target, c.Window, c.PanicWindow = settings.TargetValue, metric.StableWindow.Seconds(), metric.PanicWindow.Seconds()

	sleepToMinute()
	w := &world{ready: c.Start}
	scrapes := collector{
		aggregation.NewTimedFloat64Buckets(metric.StableWindow, config.BucketSize),
		aggregation.NewTimedFloat64Buckets(metric.PanicWindow, config.BucketSize),
	}
	scaler := newScaler(scrapes, w, &settings)
	traffic := &traffic{level: pick(r, 0, 0.5, 3, 10.0)}
	for range loopTicks {
		var scraped []any
		for range 2 {
			time.Sleep(time.Second)
			if value, ok := traffic.next(r, c.Target); ok {
				scrapes.record(time.Now(), value)
				scraped = append(scraped, value)
			} else {
				scraped = append(scraped, nil)
			}
		}
		want := tick(scaler, time.Now().Add(500*time.Millisecond))
		c.Ticks = append(c.Ticks, []any{w.ready, scraped, want})
		if pair, ok := want.([]int32); ok {
			w.ready += max(-5, min(5, int(pair[0])-w.ready))
		}
	}
	return c
}

// sleepToMinute makes seconds from now fall into the same buckets as seconds of the calendar.
func sleepToMinute() { time.Sleep(time.Until(time.Now().Truncate(time.Minute).Add(time.Minute))) }

// traffic is a level that jumps, with gaps where scrapes fail.
type traffic struct {
	level    float64
	failures int
}

func (t *traffic) next(r *rand.Rand, target float64) (float64, bool) {
	if r.IntN(25) == 0 {
		t.level = pick(r, 0, 0.2, 1, 5, 15, 40.0)
	}
	if t.failures == 0 && r.IntN(40) == 0 {
		t.failures = pick(r, 1, 1, 2, 5, 12, 70)
	}
	if t.failures > 0 {
		t.failures--
		return 0, false
	}
	return math.Round(100*target*t.level*math.Exp(0.2*r.NormFloat64())) / 100, true
}
