package operator

import (
	"slices"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/render"
	"github.com/waggle-mesh/waggle/internal/render/cut"
)

// misdirectedPart is some of the hosts of a table that answer nothing but 421,
// with the object that has them. Each of n listeners with TLS at one port has
// such hosts for n-1 others: an object for each host would be too many.
type misdirectedPart struct {
	config model.Name
	owner  Owner
	table  string
	hosts  []string // sorted
}

func (p misdirectedPart) Key() string { return p.config.String() }

// misdirectedSize is about the most bytes of JSON that the hosts of one object
// have.
const misdirectedSize = 14 << 10

// isMisdirected tells of a host that answers nothing but 421.
func isMisdirected(v model.VirtualHost) bool { return v.Misdirected && len(v.Routes) == 0 }

// misdirected gathers the hosts of each table.
func (c *Cluster) misdirected(g *flow.Graph, tables *flow.Table[ownedTable]) *flow.Table[GatewayConfig] {
	byTable := flow.NewIndex(c.VirtualHosts, func(v model.VirtualHost) []string {
		if !isMisdirected(v) {
			return nil
		}
		return []string{v.Table}
	})
	parts := flow.Derive(g, "misdirected parts", flow.Keys(g, "misdirected tables", byTable), flow.DeepEqual[misdirectedPart],
		func(r *flow.Reader, k flow.KeyRow) (out []misdirectedPart) {
			table, ok := flow.Get(r, tables, k.Key())
			if !ok {
				return nil
			}
			var hosts []string
			for _, v := range flow.Select(r, byTable, k.Key()) {
				hosts = append(hosts, v.Host)
			}
			slices.Sort(hosts)
			units := make([]cut.Unit, len(hosts))
			for i, host := range hosts {
				sum := cut.Hash(host)
				units[i] = cut.Unit{Group: sum, Own: sum, Size: 160 + 3*len(host)}
			}
			for _, piece := range cut.Pieces(units, misdirectedSize) {
				p := misdirectedPart{config: partName(ObjectName(table.owner.Gateway), table.table, "", piece.Suffix), owner: table.owner, table: table.table}
				for _, i := range piece.Units {
					p.hosts = append(p.hosts, hosts[i])
				}
				out = append(out, p)
			}
			return out
		})
	return flow.Derive(g, "misdirected configs", parts, flow.DeepEqual[GatewayConfig],
		func(_ *flow.Reader, p misdirectedPart) []GatewayConfig {
			out := GatewayConfig{Name: p.config, Owner: p.owner, PartOf: ObjectName(p.owner.Gateway).Name, Labels: partLabels(p.owner)}
			out.Spec.Resources = []ciliumv2.EnvoyResource{{JSON: render.StoredMisdirected(p.table, p.hosts)}}
			return []GatewayConfig{out}
		})
}
