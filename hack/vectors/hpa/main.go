// Program hpa records what the real HorizontalPodAutoscaler controller does in generated cases.
//
// It writes two files into the folder given: hpa_calculator.json (single calls of the replica calculator) and
// hpa_loop.json (whole turns of the controller's loop, over time). The same seeds give the same files. Time is virtual:
// all of it runs in a bubble of testing/synctest, whose clock starts at a fixed date and moves only while everything
// sleeps.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/controller/podautoscaler"
)

func main() {
	testing.Init()
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: hpa FOLDER")
		os.Exit(2)
	}
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
	utilruntime.ErrorHandlers = nil // one of them waits by the clock; from here to the bubble's year that is decades
	folder := flag.Arg(0)
	all := func(string, string) (bool, error) { return true, nil }
	// synctest wants a test; this makes the program one.
	testing.Main(all, []testing.InternalTest{{Name: "record", F: func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			w := &world{}
			controller := newController(ctx, w)
			endQueue(controller) // its timers would fire twice a second, for weeks of virtual time
			write(t, filepath.Join(folder, "hpa_calculator.json"), calculatorCases(ctx, controller, w))
			write(t, filepath.Join(folder, "hpa_loop.json"), loopCases(ctx, controller, w))
		})
	}}}, nil, nil)
}

func endQueue(controller *podautoscaler.HorizontalController) {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	controller.Run(ended, 0)
}

// write puts one case on each line: a changed case is one line in a diff.
func write[Case any](t *testing.T, path string, cases []Case) {
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	separator := "["
	for _, recorded := range cases {
		line, err := json.Marshal(recorded)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(file, "%s\n%s", separator, line)
		separator = ","
	}
	fmt.Fprintln(file, "\n]")
	fmt.Fprintf(os.Stderr, "%s: %d cases\n", filepath.Base(path), len(cases))
}
