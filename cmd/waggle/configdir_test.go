package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestConfigDir reads flags from files: what the command line says wins, what
// is another command's flag is passed over, what is nobody's is warned of, and
// what cannot be read is named.
func TestConfigDir(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"level": "debug\n", "port": "7", "enable-lb-ipam": "x", "routing-mode": "native", "enable-lb-ipm": "x", "..data": "x"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var warned strings.Builder
	run := func(args ...string) (level string, port int, err error) {
		c := configDir(&cobra.Command{Use: "test", RunE: func(*cobra.Command, []string) error { return nil }, SilenceErrors: true, SilenceUsage: true})
		c.Flags().StringVar(&level, "level", "info", "")
		c.Flags().IntVar(&port, "port", 1, "")
		c.SetArgs(append([]string{}, args...)) // nil would be those of the test
		c.SetErr(&warned)
		err = c.Execute()
		return level, port, err
	}
	if level, port, err := run("--config-dir", dir, "--port", "8"); level != "debug" || port != 8 || err != nil {
		t.Errorf("got %s, %d, %v", level, port, err)
	}
	if got := warned.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "setting enable-lb-ipm in ") {
		t.Errorf("it warns of %q", got)
	}
	if level, _, err := run(); level != "info" || err != nil {
		t.Errorf("without: %s, %v", level, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "port"), []byte("many"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := run("--config-dir", dir); err == nil || !strings.Contains(err.Error(), "setting port in "+dir) {
		t.Errorf("a broken file: %v", err)
	}
	if _, _, err := run("--config-dir", filepath.Join(dir, "none")); err == nil {
		t.Error("no directory is no error")
	}
}

// TestSettingIsTried: a value that a command would refuse when it begins is
// refused before it is set.
func TestSettingIsTried(t *testing.T) {
	for setting, good := range map[string]bool{
		"log-level=debug": true, "log-level=loud": false, "log-level=": true, "enable-lb-ipam=x": false,
		"gateway-api-service-externaltrafficpolicy=Global": false, "default-lb-service-ipam=none": true, "nothing=1": false,
		"gateway-api-hostnetwork-nodelabelselector=edge=yes": true, "gateway-api-hostnetwork-nodelabelselector=edge": false,
	} {
		name, value, _ := strings.Cut(setting, "=")
		if err := checkSetting(name, value); (err == nil) != good {
			t.Errorf("%s: %v", setting, err)
		}
	}
}

// TestSettingsTogether: settings that a command would take one by one, and not
// together, are refused before they are set.
func TestSettingsTogether(t *testing.T) {
	all := map[string]string{"enable-l2-announcements": "true", "l2-announcements-renew-deadline": "5s", "unknown": "x"}
	three, none := "3s", (*string)(nil)
	for _, test := range []struct {
		changes map[string]*string
		want    string
	}{
		{map[string]*string{"log-level": none}, ""},
		{map[string]*string{"l2-announcements-lease-duration": &three}, "`waggle agent` would not begin: --l2-announcements-renew-deadline must be less"},
		{map[string]*string{"l2-announcements-lease-duration": &three, "enable-l2-announcements": none}, ""},
	} {
		err := checkTogether(all, test.changes)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v: %v, want %q", test.changes, err, test.want)
		}
	}
}
