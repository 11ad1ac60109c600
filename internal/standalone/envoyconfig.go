package standalone

import (
	"slices"

	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/operator"
)

// programmed is the condition of what only a node of a cluster does.
const programmed = "Programmed"

// envoyConfigNews is what is said of a CiliumEnvoyConfig: without nodes nobody
// leads connections to its listeners.
func envoyConfigNews(s operator.EnvoyConfigStatus) (model.Ref, []model.Condition) {
	if slices.ContainsFunc(s.Conditions, func(c model.Condition) bool { return c.Type == programmed }) {
		return s.Object, s.Conditions
	}
	return s.Object, append(slices.Clone(s.Conditions), model.Condition{
		Object: s.Object, Type: programmed, Status: "False", Reason: "NoNodes",
		Message: "it is valid or not, as the other conditions say; only the nodes of a cluster serve it",
	})
}
