package install

import (
	"fmt"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/cli"
	"helm.sh/helm/v4/pkg/cli/values"
	"helm.sh/helm/v4/pkg/getter"
)

// Values are the chart's values, as Helm's flags of these names take them.
type Values struct {
	Files, Set, SetString []string
	// Found suit the cluster. Each holds where neither those above nor the release
	// that is there say anything of its Name.
	Found []Found
}

// Found is a value that suits a cluster.
type Found struct {
	Name   string         // "operator.replicas"
	Values map[string]any // it, and what goes with it
}

// given reads the values that somebody gives.
func (v Values) given() (map[string]any, error) {
	options := values.Options{ValueFiles: v.Files, Values: v.Set, StringValues: v.SetString}
	given, err := options.MergeValues(getter.All(cli.New()))
	if err != nil {
		return nil, fmt.Errorf("read values: %w", err)
	}
	return given, nil
}

// merge adds what is found to what is given; before are the values of the release
// that is there.
func (v Values) merge(before map[string]any) (map[string]any, error) {
	given, err := v.given()
	if err != nil {
		return nil, err
	}
	for _, found := range v.Found {
		_, isGiven := valueOf(given, found.Name)
		if _, was := valueOf(before, found.Name); !was && !isGiven {
			given = util.CoalesceTables(given, found.Values)
		}
	}
	return given, nil
}

// valueOf finds a value by its name, "operator.replicas".
func valueOf(values map[string]any, name string) (value any, there bool) {
	value = values
	for part := range strings.SplitSeq(name, ".") {
		table, _ := value.(map[string]any)
		if value, there = table[part]; !there {
			return nil, false
		}
	}
	return value, true
}

// Says tells whether the next version has a value of that name that is not empty,
// besides the chart's own.
func (r *Release) Says(name string) (bool, error) {
	last, next, err := r.read()
	if err != nil {
		return false, err
	}
	value, there := valueOf(next, name)
	if !there && last != nil {
		value, _ = valueOf(last.Config, name)
	}
	return value != nil && value != "", nil
}
