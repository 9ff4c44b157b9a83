package main

import (
	"errors"
	"math"
	"math/rand/v2"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric/noop"
	"go.uber.org/zap"
	"k8s.io/apimachinery/pkg/types"

	"knative.dev/serving/pkg/autoscaler/metrics"
	"knative.dev/serving51/pkg/autoscaler/scaling"
)

const (
	scaleRuns  = 1500
	scaleTicks = 20
)

// scaleCase is one revision over time, on averages that are given.
type scaleCase struct {
	Spec  spec    `json:"spec"`
	Start int     `json:"start"` // ready replicas when the autoscaler starts
	Ticks [][]any `json:"ticks"` // [seconds since the last, ready, averages (null: none), want (null: none)]
}

// spec is a DeciderSpec.
type spec struct {
	Up         float64 `json:"up"`
	Down       float64 `json:"down"`
	Total      float64 `json:"total"`
	Part       float64 `json:"part"` // of the total that is aimed at
	Burst      float64 `json:"burst"`
	Threshold  float64 `json:"threshold"`
	Window     float64 `json:"window"`
	Delay      float64 `json:"delay"`
	Activation int32   `json:"activation"`
	Reachable  bool    `json:"reachable"`
}

func (s spec) target() float64 { return math.Max(0.01, s.Total*s.Part) }

func (s spec) decider() *scaling.DeciderSpec {
	return &scaling.DeciderSpec{
		MaxScaleUpRate: s.Up, MaxScaleDownRate: s.Down, TargetValue: s.target(), TotalValue: s.Total,
		TargetBurstCapacity: s.Burst, PanicThreshold: s.Threshold, StableWindow: duration(s.Window),
		ScaleDownDelay: duration(s.Delay), ActivationScale: s.Activation, Reachable: s.Reachable,
	}
}

// world is what the autoscaler is told.
type world struct {
	ready         int
	stable, panic float64
	none          bool
}

func (w *world) ReadyCount() (int, error)    { return w.ready, nil }
func (w *world) NotReadyCount() (int, error) { return 0, errors.New("nobody should ask for this") }

func (w *world) StableAndPanicConcurrency(types.NamespacedName, time.Time) (float64, float64, error) {
	if w.none {
		return 0, 0, metrics.ErrNoData
	}
	return w.stable, w.panic, nil
}

func (w *world) StableAndPanicRPS(types.NamespacedName, time.Time) (float64, float64, error) {
	return 0, 0, errors.New("nobody should ask for this")
}

func newScaler(client metrics.MetricClient, w *world, s *scaling.DeciderSpec) scaling.UniScaler {
	return scaling.New(*attribute.EmptySet(), noop.NewMeterProvider(), "vectors", "revision", client, w, s)
}

// tick is one decision: null, or [count, excess burst capacity].
func tick(scaler scaling.UniScaler, now time.Time) any {
	result := scaler.Scale(zap.NewNop().Sugar(), now)
	if !result.ScaleValid {
		return nil
	}
	return []int32{result.DesiredPodCount, result.ExcessBurstCapacity}
}

func scaleCases() []scaleCase {
	r := rand.New(rand.NewPCG(2, 51))
	var cases []scaleCase
	for range scaleRuns {
		cases = append(cases, recordScale(r))
	}
	return cases
}

func anySpec(r *rand.Rand) spec {
	return spec{
		Up: pick(r, 1000, 1000, 10, 2, 1.1, 1.5), Down: pick(r, 2, 2, 1.1, 10, 1000), Total: pick(r, 20, 100, 1, 5, 0.7),
		Part:  pick(r, 0.7, 0.7, 1, 0.35, 0.001),
		Burst: pick(r, 211, 0, -1, 10, 35.5), Threshold: pick(r, 2, 2, 1.1, 1.5, 10), Window: pick(r, 60, 60, 6, 30, 600.0),
		Delay: pick(r, 0, 0, 0, 2, 7, 30, 60.0), Activation: pick(r, int32(0), 0, 1, 2, 5), Reachable: r.IntN(8) > 0,
	}
}

func recordScale(r *rand.Rand) scaleCase {
	c := scaleCase{Spec: anySpec(r), Start: pick(r, 0, 1, 2, 5, 40)}
	w := &world{ready: c.Start}
	// The autoscaler reads the clock only here; all else is told.
	sleepToMinute()
	now := time.Now()
	scaler := newScaler(w, w, c.Spec.decider())
	follows := r.IntN(2) == 0
	for range scaleTicks {
		passed := pick(r, 2, 2, 2, 2, 2, 2, 0, 0.5, 1, 4, c.Spec.Window/2, c.Spec.Window, 61)
		now = now.Add(duration(passed))
		w.none = r.IntN(12) == 0
		w.stable = load(r, c.Spec.target(), w.ready)
		w.panic = w.stable
		if r.IntN(2) == 0 {
			w.panic = load(r, c.Spec.target(), w.ready)
		}
		want := tick(scaler, now)
		var averages any
		if !w.none {
			averages = []float64{w.stable, w.panic}
		}
		c.Ticks = append(c.Ticks, []any{passed, w.ready, averages, want})
		if pair, ok := want.([]int32); ok && follows {
			w.ready = min(int(pair[0]), 200)
		} else if r.IntN(2) == 0 {
			w.ready = max(0, w.ready+r.IntN(9)-4)
		}
	}
	return c
}
