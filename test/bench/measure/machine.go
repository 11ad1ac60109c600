package measure

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"syscall"
)

// Machine describes where figures were taken, without saying whose it is.
type Machine struct {
	CPU     string
	Cores   int
	Memory  string
	Kernel  string
	Go      string
	Waggle  string
	Envoy   string
	LoadAvg string // when it was asked
}

// Describe looks at the machine and the programs.
func (b Binaries) Describe() (Machine, error) {
	m := Machine{Cores: runtime.NumCPU(), Go: runtime.Version(), CPU: processor(), LoadAvg: LoadAverage()}
	var name syscall.Utsname
	if err := syscall.Uname(&name); err != nil {
		return m, fmt.Errorf("ask the kernel's version: %w", err)
	}
	// The numbers alone: what follows them can name a vendor or a machine.
	m.Kernel = regexp.MustCompile(`^[0-9.]*[0-9]`).FindString(text(name.Release[:]))
	var info syscall.Sysinfo_t
	if err := syscall.Sysinfo(&info); err != nil {
		return m, fmt.Errorf("ask the size of memory: %w", err)
	}
	m.Memory = fmt.Sprintf("%d GiB", (info.Totalram*uint64(info.Unit)+1<<29)>>30)
	out, err := exec.Command(b.Waggle, "version").Output()
	if err != nil {
		return m, fmt.Errorf("ask waggle's version: %w", err)
	}
	if words := strings.Fields(string(out)); len(words) > 1 {
		m.Waggle = words[1]
	}
	if out, err = exec.Command(b.Envoy, "--version").Output(); err != nil {
		return m, fmt.Errorf("ask Envoy's version: %w", err)
	}
	m.Envoy = regexp.MustCompile(`\d+\.\d+\.\d+`).FindString(string(out))
	return m, nil
}

// String is one sentence for a page of results.
func (m Machine) String() string {
	return fmt.Sprintf("%d cores of %s, %s, Linux %s; Waggle %s built with %s; Envoy %s. Load average at the start: %s.",
		m.Cores, m.CPU, m.Memory, m.Kernel, m.Waggle, m.Go, m.Envoy, m.LoadAvg)
}

// LoadAverage is that of the last minute.
func LoadAverage() string {
	content, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(content), " ")
	return first
}

func processor() string {
	content, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(content)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

func text(characters []int8) string {
	var b strings.Builder
	for _, c := range characters {
		if c == 0 {
			break
		}
		b.WriteByte(byte(c))
	}
	return b.String()
}
