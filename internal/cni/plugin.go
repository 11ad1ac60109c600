package cni

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"golang.org/x/sys/unix"
)

// PluginName is the plugin's type in the conflist and its file's name.
const PluginName = "waggle-cni"

// How long the plugin waits.
const (
	dialPatience  = 3 * time.Second // for an agent that restarts
	addPatience   = 100 * time.Second
	delPatience   = 10 * time.Second // then the deletion is left to the agent
	otherPatience = 30 * time.Second
)

// Plugin answers the runtime: environment and standard input in, JSON on
// standard output. It returns the exit code.
func Plugin() int {
	funcs := skel.CNIFuncs{Add: pluginAdd, Del: pluginDel, Check: pluginCheck, GC: pluginGC, Status: pluginStatus}
	about := "waggle-cni: asks the node's waggle agent for the network of a pod"
	err := skel.PluginMainFuncsWithError(funcs, supported, about)
	if err == nil {
		return 0
	}
	if printErr := err.Print(); printErr != nil {
		fmt.Fprintln(os.Stderr, "print error:", printErr)
	}
	return 1
}

func pluginAdd(args *skel.CmdArgs) error {
	c, r, err := requestOf("ADD", args)
	if err != nil {
		return err
	}
	if c.PrevResult != nil {
		return types.NewError(types.ErrInvalidNetworkConfig, fmt.Sprintf("network %q: %s has to be the first of its plugins", c.Name, PluginName), "")
	}
	if r.Pod, r.UID, err = podOf(args.Args); err != nil {
		return err
	}
	netns, err := openNetns(args.Netns)
	if err != nil {
		return err
	}
	defer netns.Close()
	answer, err := ask(c.Socket, r, netns, dialPatience, addPatience)
	if err != nil {
		return err
	}
	if answer.Result == nil {
		return types.NewError(types.ErrInternal, "the agent answered without a result", "")
	}
	return types.PrintResult(answer.Result, c.CNIVersion)
}

// pluginDel always succeeds once it understands what to delete: what the
// agent cannot do now it does later. The device ends with the pod's namespace
// anyway.
func pluginDel(args *skel.CmdArgs) error {
	c, r, err := requestOf("DEL", args)
	if err != nil {
		return err
	}
	if _, err = ask(c.Socket, r, nil, 0, delPatience); err == nil {
		return nil
	}
	if err := queueOf(c.Socket).put(r.key()); err != nil {
		fmt.Fprintln(os.Stderr, err) // the agent finds the address without a device when it starts
		return nil
	}
	// An agent that has started meanwhile may have read the queue before the
	// entry was there; it listens by now.
	if _, err := ask(c.Socket, r, nil, 0, delPatience); err == nil {
		return orNil(asError(types.ErrIOFailure, queueOf(c.Socket).drop(r.key())))
	}
	return nil
}

func pluginCheck(args *skel.CmdArgs) error {
	c, r, err := requestOf("CHECK", args)
	if err != nil {
		return err
	}
	if r.Expect, err = c.addresses(); err != nil {
		return err
	}
	netns, err := openNetns(args.Netns)
	if err != nil {
		return err
	}
	defer netns.Close()
	_, err = ask(c.Socket, r, netns, dialPatience, otherPatience)
	return orNil(err)
}

func pluginGC(args *skel.CmdArgs) error {
	c, r, err := requestOf("GC", args)
	if err != nil {
		return err
	}
	r.Valid = c.ValidAttachments
	_, err = ask(c.Socket, r, nil, dialPatience, otherPatience)
	return orNil(err)
}

func pluginStatus(args *skel.CmdArgs) error {
	c, r, err := requestOf("STATUS", args)
	if err != nil {
		return err
	}
	_, err = ask(c.Socket, r, nil, dialPatience, otherPatience)
	if err != nil && err.Code == types.ErrTryAgainLater {
		err.Code = types.ErrPluginNotAvailable
	}
	return orNil(err)
}

func requestOf(command string, args *skel.CmdArgs) (conf, request, *types.Error) {
	c, err := parseConf(args.StdinData)
	return c, request{Command: command, Container: args.ContainerID, Device: args.IfName, Netns: args.Netns}, err
}

// orNil is an error interface without a nil pointer in it.
func orNil(err *types.Error) error {
	if err == nil {
		return nil
	}
	return err
}

func openNetns(path string) (*os.File, *types.Error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, types.NewError(types.ErrInvalidNetNS, "open network namespace: "+err.Error(), "")
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(file.Fd()), &fs); err != nil || fs.Type != unix.NSFS_MAGIC {
		file.Close()
		return nil, types.NewError(types.ErrInvalidNetNS, fmt.Sprintf("open network namespace: %s is none", path), "")
	}
	return file, nil
}

// ask sends a request to the agent and waits for its answer.
func ask(socket string, r request, netns *os.File, dialing, answering time.Duration) (response, *types.Error) {
	conn, err := dial(socket, dialing)
	if err != nil {
		return response{}, tryLater(fmt.Sprintf("the waggle agent of this node is not there: %v", err))
	}
	defer conn.Close()
	var answer response
	err = conn.SetDeadline(time.Now().Add(answering))
	if err == nil {
		err = send(conn, r, netns)
	}
	if err == nil {
		_, err = receive(conn, &answer)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return response{}, tryLater(fmt.Sprintf("the waggle agent of this node has not answered in %s", answering))
	}
	if err != nil {
		return response{}, tryLater(fmt.Sprintf("the waggle agent of this node ended before it answered: %v", err))
	}
	return answer, answer.Error
}

func tryLater(text string) *types.Error { return types.NewError(types.ErrTryAgainLater, text, "") }

// dial connects to the agent, and waits for one that is about to come.
func dial(socket string, patience time.Duration) (*net.UnixConn, error) {
	for end := time.Now().Add(patience); ; {
		conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: filepath.Clean(socket), Net: "unix"})
		if err == nil || time.Now().After(end) {
			return conn, err
		}
		time.Sleep(20 * time.Millisecond)
	}
}
