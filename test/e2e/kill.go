package e2e

import "strings"

// killing ends, without warning, the processes whose command lines begin with
// the first argument, and prints how many they are.
const killing = `n=0
for p in /proc/[0-9]*; do
	case "$(tr '\0' ' ' 2>/dev/null <"$p/cmdline")" in "$0"*) kill -9 "${p#/proc/}" && n=$((n+1)) ;; esac
done
echo $n`

// Kill ends the processes of a node whose command lines begin so, without
// warning. There must be some.
func (c *Test) Kill(node, command string) {
	c.Helper()
	if n := c.Sandbox("exec", node, "sh", "-c", killing, command); strings.TrimSpace(n) == "0" {
		c.Fatalf("no process %q on %s", command, node)
	}
}
