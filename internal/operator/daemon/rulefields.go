package daemon

import (
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/kube"
	"github.com/waggle-mesh/waggle/internal/model"
)

// routeSchema is the name of the definition of HTTPRoute.
const routeSchema = "httproutes." + gatewayv1.GroupName

// ruleFields writes the fields of a rule of an HTTPRoute into a table: those of
// the channel of the Gateway API that is installed.
type ruleFields struct{ table *flow.Table[flow.KeyRow] }

// Set takes the fields of a version of the definition.
func (f ruleFields) Set(row model.Object[*kube.Schema]) {
	if row.Name.Name != routeSchema {
		return
	}
	f.Delete(routeSchema)
	for _, name := range row.Value.Fields(gatewayv1.GroupVersion.Version, "spec", "rules") {
		f.table.Set(flow.KeyRow(name))
	}
}

// Delete says that there is no definition.
func (f ruleFields) Delete(name string) {
	if name != routeSchema {
		return
	}
	for _, field := range f.table.All() {
		f.table.Delete(field.Key())
	}
}
