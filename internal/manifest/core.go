package manifest

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func finishService(metav1.Object) field.ErrorList       { return nil }
func finishNamespace(metav1.Object) field.ErrorList     { return nil }
func finishSecret(metav1.Object) field.ErrorList        { return nil }
func finishEndpointSlice(metav1.Object) field.ErrorList { return nil }
