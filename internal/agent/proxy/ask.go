package proxy

import (
	"context"
	"errors"

	"github.com/waggle-mesh/waggle/internal/envoy"
)

// Ask puts a question to the Envoy that gets new connections, see
// envoy.Admin.Ask.
func (p *Proxy) Ask(ctx context.Context, what, filter string) ([]byte, error) {
	for _, e := range p.Envoys() {
		if e.Active {
			return envoy.NewAdmin(adminSocket(e.PID)).Ask(ctx, what, filter)
		}
	}
	return nil, errors.New("the node has no Envoy")
}
