package cni

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/utils"
	"golang.org/x/sys/unix"

	"github.com/waggle-mesh/waggle/internal/model"
)

// maxMessage is the longest message that is read, in bytes.
const maxMessage = 1 << 20

// request is what the plugin asks, one to a connection, in one line of JSON.
// The pod's network namespace comes along as a file descriptor, so that the
// agent need not see the runtime's mounts.
type request struct {
	Command   string // CNI_COMMAND
	Container string `json:",omitempty"`
	Device    string `json:",omitempty"` // CNI_IFNAME
	Netns     string `json:",omitempty"` // CNI_NETNS, to name it in the result
	Pod       model.Name
	UID       string               `json:",omitempty"`
	Expect    []netip.Addr         `json:",omitempty"` // with CHECK: what ADD had answered; nil: not told
	Valid     []types.GCAttachment `json:",omitempty"` // with GC: what is to stay
}

// key names an attachment: a device of a container.
func (r request) key() string { return attachmentKey(r.Container, r.Device) }

// attachmentKey is a file's name too; a container ID holds no '@'.
func attachmentKey(container, device string) string { return container + "@" + device }

// validate repeats the plugin's checks: keys become names of files.
func (r request) validate() *types.Error {
	switch r.Command {
	case "ADD", "DEL", "CHECK":
		if err := utils.ValidateContainerID(r.Container); err != nil {
			return err
		}
		return utils.ValidateInterfaceName(r.Device)
	case "GC", "STATUS":
		return nil
	}
	return types.NewError(types.ErrInvalidEnvironmentVariables, fmt.Sprintf("unknown command %q", r.Command), "")
}

// response is the agent's answer. Both nil: done.
type response struct {
	Result *types100.Result `json:",omitempty"` // of ADD
	Error  *types.Error     `json:",omitempty"`
}

// send writes a message, and with it a file that may be nil.
func send(conn *net.UnixConn, message any, file *os.File) error {
	text, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("encode message: %w", err)
	}
	text = append(text, '\n')
	var rights []byte
	if file != nil {
		rights = unix.UnixRights(int(file.Fd()))
	}
	n, _, err := conn.WriteMsgUnix(text, rights, nil)
	if err == nil && n < len(text) {
		_, err = conn.Write(text[n:])
	}
	return err
}

// receive reads a message into one, and the file that came with it; nil if
// none did.
func receive(conn *net.UnixConn, message any) (*os.File, error) {
	var file *os.File
	var text []byte
	buffer, rights := make([]byte, 64<<10), make([]byte, unix.CmsgSpace(4*4))
	for {
		n, m, _, _, err := conn.ReadMsgUnix(buffer, rights)
		if m > 0 {
			received, rightsErr := fileOf(rights[:m])
			if file == nil {
				file = received
			} else if received != nil {
				received.Close()
			}
			err = errors.Join(err, rightsErr)
		}
		if err != nil {
			return file, err
		}
		text = append(text, buffer[:n]...)
		if line, _, ok := bytes.Cut(text, []byte("\n")); ok {
			return file, json.Unmarshal(line, message)
		}
		if len(text) > maxMessage {
			return file, fmt.Errorf("message of more than %d bytes", maxMessage)
		}
	}
}

// fileOf is the first of the files in a control message; others are closed.
func fileOf(rights []byte) (*os.File, error) {
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return nil, fmt.Errorf("read file descriptors: %w", err)
	}
	var first *os.File
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue // another kind of message
		}
		for _, fd := range fds {
			if first == nil {
				first = os.NewFile(uintptr(fd), "netns of the pod")
			} else {
				unix.Close(fd)
			}
		}
	}
	return first, nil
}
