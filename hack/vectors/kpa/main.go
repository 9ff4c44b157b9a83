// Program kpa records what the real autoscaler of Knative does in generated cases.
//
// It writes three files into the folder given: kpa_windows.json (averages over what was recorded), kpa_scale.json
// (decisions on given averages) and kpa_loop.json (scrapes, averages and decisions together). The same seeds give the
// same files. Time is virtual: all of it runs in a bubble of testing/synctest, whose clock starts at a fixed date and
// moves only while everything sleeps.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
)

func main() {
	testing.Init()
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: kpa FOLDER")
		os.Exit(2)
	}
	folder := flag.Arg(0)
	all := func(string, string) (bool, error) { return true, nil }
	// synctest wants a test; this makes the program one.
	testing.Main(all, []testing.InternalTest{{Name: "record", F: func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			write(t, filepath.Join(folder, "kpa_windows.json"), windowCases())
			write(t, filepath.Join(folder, "kpa_scale.json"), scaleCases())
			write(t, filepath.Join(folder, "kpa_loop.json"), loopCases())
		})
	}}}, nil, nil)
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
