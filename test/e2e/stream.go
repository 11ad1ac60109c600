package e2e

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

// Attempt runs kubectl and returns what it printed or why it failed.
func (c *Test) Attempt(args ...string) string {
	c.Helper()
	out, err := c.try(args...)
	if err != nil {
		return err.Error()
	}
	return out
}

// Stream runs kubectl with additional environment and input, which stays open
// until kubectl ends, and returns its output and then its errors. The input is
// short: a pipe must hold it.
func (c *Test) Stream(env []string, input string, args ...string) string {
	c.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, sandbox.kube, append([]string{"kubectl", "--namespace", c.Namespace}, args...)...)
	r, w, err := os.Pipe()
	if err != nil {
		c.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if _, err := w.WriteString(input); err != nil {
		c.Fatal(err)
	}
	cmd.Env, cmd.Stdin = append(os.Environ(), env...), r
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); ctx.Err() != nil {
		c.Fatalf("kubectl %s did not end: %v: %s%s", strings.Join(args, " "), err, out.String(), errs.String())
	}
	return strings.TrimSpace(out.String() + errs.String())
}

var (
	forwarding = regexp.MustCompile(`Forwarding from (\S+) ->`)
	serving    = regexp.MustCompile(`Starting to serve on (\S+)`)
)

// PortForward forwards a port of this machine, which the kernel chooses, to one
// of a pod or Service until the test ends, and returns the URL.
func (c *Test) PortForward(env []string, object string, port int) string {
	c.Helper()
	return c.listener(env, forwarding, "port-forward", object, fmt.Sprintf(":%d", port))
}

// API is the URL of the API server for requests that need no credentials and
// are many, until the test ends.
func (c *Test) API() string {
	c.Helper()
	return c.listener(nil, serving, "proxy", "--port=0")
}

// listener runs kubectl until the test ends and returns the URL that it says it
// listens at.
func (c *Test) listener(env []string, says *regexp.Regexp, args ...string) string {
	c.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, sandbox.kube, append([]string{"kubectl", "--namespace", c.Namespace}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		c.Fatal(err)
	}
	var errs safeBuffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() { cancel(); _ = cmd.Wait() })
	line := make(chan string, 1)
	go func() {
		text, _ := bufio.NewReader(out).ReadString('\n')
		line <- text
		_, _ = io.Copy(io.Discard, out)
	}()
	select {
	case text := <-line:
		if m := says.FindStringSubmatch(text); m != nil {
			return "http://" + m[1]
		}
		c.Fatalf("kubectl %v: %q %s", args, text, errs.copy())
	case <-time.After(timeout):
		c.Fatalf("kubectl %v: nothing after %s: %s", args, timeout, errs.copy())
	}
	return ""
}

// worldIPs are addresses of the Internet, as far as the cluster knows: they lie
// on the loopback interface of ext. RFC 5737 and 3849 keep them for such use.
var worldIPs = map[string]string{"IPv4": "203.0.113.5", "IPv6": "2001:db8::5"}

// World runs a server in the world outside of the cluster, on port 8080, until
// the test ends, and returns its address, of the cluster's primary family. It is
// the echoserver.
func (c *Test) World() string {
	c.Helper()
	ip := worldIPs[c.Families()[0]]
	c.Sandbox("exec", "ext", "ip", "address", "replace", ip, "dev", "lo")
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, sandbox.program, "exec", "ext", strings.TrimSuffix(sandbox.probe, "probe")+"echoserver", ip)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	if err := cmd.Start(); err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() { cancel(); _ = cmd.Wait() })
	c.From("ext").OK(Request{URL: "http://" + HostPort(ip, "8080")}, 200)
	return ip
}
