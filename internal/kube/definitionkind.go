package kube

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// definitionGroup is that of CustomResourceDefinitions.
var definitionGroup = schema.GroupVersion{Group: "apiextensions.k8s.io", Version: "v1"}

// Schema is what is read of a CustomResourceDefinition: which fields there are.
// The type of Kubernetes' own would bring a library with it, and 400 KB for
// HTTPRoute.
type Schema struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              SchemaSpec `json:"spec"`
}

// SchemaSpec is a definition's.
type SchemaSpec struct {
	Versions []SchemaVersion `json:"versions"`
}

// SchemaVersion is one that a definition has.
type SchemaVersion struct {
	Name   string `json:"name"`
	Served bool   `json:"served"`
	Schema struct {
		Root SchemaField `json:"openAPIV3Schema"`
	} `json:"schema"`
}

// SchemaField is a field with those below it.
type SchemaField struct {
	Properties map[string]SchemaField `json:"properties,omitempty"`
	Items      *SchemaField           `json:"items,omitempty"`
}

// Fields are those below a field that path leads to in a version that is
// served, through lists as well; nil: there is no such version or field.
func (s *Schema) Fields(version string, path ...string) (names []string) {
	for _, v := range s.Spec.Versions {
		if v.Name != version || !v.Served {
			continue
		}
		at := v.Schema.Root
		for _, name := range path {
			if at = at.Properties[name]; at.Items != nil {
				at = *at.Items
			}
		}
		for name := range at.Properties {
			names = append(names, name)
		}
	}
	return names
}

// DeepCopyObject gives s itself: nobody changes what is read.
func (s *Schema) DeepCopyObject() runtime.Object { return s }

// SchemaList is a list of definitions.
type SchemaList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`
	Items           []Schema `json:"items"`
}

// DeepCopyObject gives l itself.
func (l *SchemaList) DeepCopyObject() runtime.Object { return l }

// addDefinitions adds the types to a scheme.
func addDefinitions(s *runtime.Scheme) {
	s.AddKnownTypeWithName(definitionGroup.WithKind("CustomResourceDefinition"), &Schema{})
	s.AddKnownTypeWithName(definitionGroup.WithKind("CustomResourceDefinitionList"), &SchemaList{})
	metav1.AddToGroupVersion(s, definitionGroup)
}

// Schemas are CustomResourceDefinitions.
var Schemas = Kind[*Schema]{
	name: "CustomResourceDefinition", group: definitionGroup, resource: "customresourcedefinitions",
	new: func() *Schema { return new(Schema) },
}
