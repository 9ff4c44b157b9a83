package main

import (
	"math"
	"math/rand/v2"
	"time"
)

// start is a whole minute, so that seconds from here fall into the same buckets as seconds of the calendar.
var start = time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)

// seconds from the start; all times are on a grid of 1/8 s, on which sums are exact.
func seconds(s float64) time.Time { return start.Add(duration(s)) }

func duration(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

// load is a concurrency somewhere around what so many replicas should have: nothing, exactly at an edge, or anywhere.
func load(r *rand.Rand, target float64, ready int) float64 {
	replicas := float64(max(1, ready))
	switch r.IntN(10) {
	case 0:
		return 0
	case 1:
		return target * replicas
	case 2:
		return target * math.Ceil(2*replicas)
	case 3:
		return target * float64(r.IntN(3*int(replicas)+2))
	default:
		return math.Round(1000*target*replicas*math.Exp(1.2*r.NormFloat64())) / 1000
	}
}
