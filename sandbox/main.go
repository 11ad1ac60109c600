// sandbox runs a real Kubernetes of several nodes on one Linux machine: no
// docker, no image registry, nothing installed, nothing left. See README.md.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/waggle-mesh/waggle/sandbox/internal/cli"
	"github.com/waggle-mesh/waggle/sandbox/internal/member"
)

func main() {
	if os.Args[0] == member.Argv0 && len(os.Args) == 3 {
		if err := member.Main(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, "sandbox-init:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(cli.Main(sources(), os.Args[1:]))
}

// sources is where this program was built from, which the heavy programs are
// built from too.
func sources() string {
	if dir := os.Getenv("SANDBOX_SOURCE"); dir != "" {
		return dir
	}
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(file)
}
