package proxy

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

// Times between two starts of an Envoy that does not live: after each it is
// twice as long. One that has lived for keepLived is started again at once.
const (
	keepFirst = 100 * time.Millisecond
	keepLast  = 10 * time.Second
	keepLived = 10 * time.Second
)

// Keep runs a command, and again as soon as a signal has ended it, that is when
// it crashed or was killed: a container's own restart takes seconds, and ten more
// each time. It returns when the command has ended by itself, or when it was told
// to end, with its exit code. What is told by SIGTERM, SIGINT or SIGUSR1 is passed
// on. The files are removed before each start but the first.
func Keep(command []string, files ...string) (code int, err error) {
	runtime.LockOSThread() // with whose end the command's comes
	defer runtime.UnlockOSThread()
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR1)
	defer signal.Stop(signals)
	for pause := keepFirst; ; {
		begin := time.Now()
		state, told, err := keepOne(command, signals)
		if err != nil {
			return 0, err
		}
		status, _ := state.Sys().(syscall.WaitStatus)
		switch {
		case !status.Signaled():
			return state.ExitCode(), nil
		case told:
			return 128 + int(status.Signal()), nil
		case time.Since(begin) > keepLived:
			pause = keepFirst
		default:
			select {
			case s := <-signals:
				return 128 + int(s.(syscall.Signal)), nil
			case <-time.After(pause):
				pause = min(2*pause, keepLast)
			}
		}
		fmt.Fprintf(os.Stderr, "%s has ended: %s; starting it again\n", command[0], status.Signal())
		for _, file := range files {
			if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return 0, fmt.Errorf("remove what %s has left: %w", command[0], err)
			}
		}
	}
}

// keepOne runs a command once, and tells whether it was told to end.
func keepOne(command []string, signals <-chan os.Signal) (state *os.ProcessState, told bool, err error) {
	run := exec.Command(command[0], command[1:]...)
	run.Stdin, run.Stdout, run.Stderr = os.Stdin, os.Stdout, os.Stderr
	run.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := run.Start(); err != nil {
		return nil, false, fmt.Errorf("run %s: %w", command[0], err)
	}
	ended := make(chan error, 1)
	go func() { ended <- run.Wait() }()
	for {
		select {
		case s := <-signals:
			told = told || s != syscall.SIGUSR1
			if err := run.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
				return nil, told, fmt.Errorf("pass %s on to %s: %w", s, command[0], err)
			}
		case err := <-ended:
			var failed *exec.ExitError
			if err != nil && !errors.As(err, &failed) {
				return nil, told, fmt.Errorf("wait for %s: %w", command[0], err)
			}
			return run.ProcessState, told, nil
		}
	}
}
