package redirect

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/waggle-mesh/waggle/internal/datapath/pin"
)

// sockmapLink is the pin of what enters sockets into the map.
const sockmapLink = "stream_opened"

// accelerate hands data between pods and the proxy from socket to socket, or
// stops doing so for new connections.
func (p *Proxy) accelerate() error {
	if !p.options.Sockmap {
		err := os.Remove(filepath.Join(p.node.LinkPins, sockmapLink))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove link: %w", err)
		}
		return nil
	}
	c, err := p.load(nil, "stream_opened", "stream_send")
	if err != nil {
		return err
	}
	defer c.Close()
	err = link.RawAttachProgram(link.RawAttachProgramOptions{
		Target: c.Maps["streams"].FD(), Program: c.Programs["stream_send"], Attach: ebpf.AttachSkMsgVerdict,
	})
	if err != nil {
		return fmt.Errorf("attach stream_send to its sockets: %w", err)
	}
	err = pin.AttachCgroup(filepath.Join(p.node.LinkPins, sockmapLink), p.node.Cgroup, c.Programs["stream_opened"], ebpf.AttachCGroupSockOps)
	if err != nil {
		return fmt.Errorf("attach stream_opened: %w", err)
	}
	return nil
}
