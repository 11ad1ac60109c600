package redirect

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/waggle-mesh/waggle/internal/datapath/pin"
)

// turn has the node's programs change to other maps together with the one that
// finds listeners, which looks for connections where they enter them:
//
//	nobody listens ─▶ from_pod, from_uplink ─▶ pick_listener ─▶ as before
//
// Meanwhile first packets are dropped: their clients repeat them, and nobody is
// refused.
func (p *Proxy) turn(attach func() error) (err error) {
	c, err := p.load(nil, pickListener) // which takes a while
	if err != nil {
		return err
	}
	defer c.Close()
	before, err := p.Active()
	if err != nil {
		return err
	}
	if err := p.SetActive(Active{}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.SetActive(before)) }()
	if err := attach(); err != nil {
		return err
	}
	if _, err := pin.Replace(filepath.Join(p.node.LinkPins, pickListener), c.Programs[pickListener]); err != nil {
		return fmt.Errorf("replace %s: %w", pickListener, err)
	}
	return nil
}
