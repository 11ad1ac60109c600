package install

import (
	"fmt"
	"io/fs"

	"sigs.k8s.io/yaml"

	"github.com/waggle-mesh/waggle/internal/kube"
)

// Definitions are the kinds that a chart brings, as its files/crds name them.
func Definitions(files fs.FS, dir string) (all []kube.Definition, err error) {
	paths, err := fs.Glob(files, dir+"/files/crds/*.yaml")
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		text, err := fs.ReadFile(files, path)
		if err != nil {
			return nil, err
		}
		var definition struct {
			Spec struct {
				Group    string
				Names    struct{ Plural string }
				Versions []struct{ Name string }
			}
		}
		if err := yaml.Unmarshal(text, &definition); err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		s := definition.Spec
		all = append(all, kube.Definition{Plural: s.Names.Plural, Group: s.Group, Version: s.Versions[0].Name})
	}
	return all, nil
}
