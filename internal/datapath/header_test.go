package datapath

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"testing"
)

// What Go repeats of bpf/maps.h is the same there.
func TestHeader(t *testing.T) {
	text, err := os.ReadFile("bpf/maps.h")
	if err != nil {
		t.Fatal(err)
	}
	for name, number := range map[string]int{"LAYOUT": layout, "STATE": state} {
		if want := fmt.Sprintf(`(?m)^#define %s %d$`, name, number); !regexp.MustCompile(want).Match(text) {
			t.Errorf("maps.h does not say %s", want)
		}
	}
	drops := regexp.MustCompile(`(?m)^\tDROP_\w+ = (\d+),`).FindAllSubmatch(text, -1)
	if len(drops) < 15 {
		t.Errorf("only %d reasons for drops were found", len(drops))
	}
	for _, d := range drops {
		number, err := strconv.Atoi(string(d[1]))
		if err != nil || number > 255 {
			t.Fatalf("%s: %v", d[0], err)
		}
		if Reason(uint8(number)) == strconv.Itoa(number) {
			t.Errorf("%s has no name", d[0])
		}
	}
}
