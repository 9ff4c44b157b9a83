package main

import (
	"math"
	"math/rand/v2"
	"time"

	"knative.dev/serving51/pkg/autoscaler/aggregation"
)

const (
	windowRuns  = 400
	windowSteps = 60
)

// windowCase is one window over time.
type windowCase struct {
	Window float64 `json:"window"`
	Steps  [][]any `json:"steps"` // [seconds, value recorded] or [seconds, null, is it empty, its average]
}

func windowCases() []windowCase {
	r := rand.New(rand.NewPCG(1, 51))
	var cases []windowCase
	for range windowRuns {
		cases = append(cases, recordWindow(r))
	}
	return cases
}

func recordWindow(r *rand.Rand) windowCase {
	c := windowCase{Window: pick(r, 60, 60, 6, 6, 10, 2.5, 1, 7, 120.0)}
	buckets := aggregation.NewTimedFloat64Buckets(duration(c.Window), time.Second)
	at := float64(r.IntN(1000)) / 8
	for range windowSteps {
		if r.IntN(3) > 0 {
			written := at
			if r.IntN(8) == 0 { // late, some of them too late
				written = math.Max(0, at-float64(r.IntN(int(12*c.Window)))/8)
			}
			value := pick(r, 0, 1, 0.1, 100, math.Round(r.ExpFloat64()*1e5)/1e3)
			buckets.Record(seconds(written), value)
			c.Steps = append(c.Steps, []any{written, value})
		} else {
			asked := at
			if r.IntN(8) == 0 {
				asked = math.Max(0, at-float64(r.IntN(16))/8)
			}
			c.Steps = append(c.Steps, []any{asked, nil, buckets.IsEmpty(seconds(asked)), buckets.WindowAverage(seconds(asked))})
		}
		at += pick(r, 1, 1, 1, 1, 0, 0.125, 0.5, 2, 3, math.Floor(c.Window), c.Window+1)
	}
	return c
}
