package measure

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// MachineCPU is what all cores together have done since the machine began.
type MachineCPU struct {
	Busy  time.Duration // in processes and interrupts
	Cores int
}

// tick is the unit of /proc/stat.
const tick = 10 * time.Millisecond

// WholeMachine reads /proc/stat, see proc(5).
func WholeMachine() (m MachineCPU, err error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return m, fmt.Errorf("read the machine's CPU: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		switch {
		case !strings.HasPrefix(line, "cpu"):
		case fields[0] != "cpu":
			m.Cores++
		default:
			for _, i := range []int{1, 2, 3, 6, 7} { // user, nice, system, irq, softirq
				ticks, err := strconv.ParseInt(fields[i], 10, 64)
				if err != nil {
					return m, fmt.Errorf("read the machine's CPU: %w", err)
				}
				m.Busy += time.Duration(ticks) * tick
			}
		}
	}
	return m, nil
}
