package install

import (
	"fmt"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/engine"
)

// Render gives what a chart's templates make of values, by the templates' paths,
// without a cluster. Kinds that the cluster is to have besides Kubernetes' own
// are named "group/version/kind".
func Render(c *Chart, given map[string]any, kinds ...string) (map[string]string, error) {
	capabilities := common.DefaultCapabilities.Copy()
	capabilities.APIVersions = append(capabilities.APIVersions, kinds...)
	all, err := util.ToRenderValues(c, given, common.ReleaseOptions{Name: "waggle", Namespace: "kube-system", Revision: 1, IsInstall: true}, capabilities)
	if err != nil {
		return nil, fmt.Errorf("read values: %w", err)
	}
	return engine.Render(c, all)
}
