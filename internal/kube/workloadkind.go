package kube

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// Kinds that commands read, whole, to see how Waggle itself does.
var (
	DaemonSets = Kind[*appsv1.DaemonSet]{
		name: "DaemonSet", group: appsv1.SchemeGroupVersion, resource: "daemonsets",
		new:   func() *appsv1.DaemonSet { return new(appsv1.DaemonSet) },
		keeps: everything,
	}
	Deployments = Kind[*appsv1.Deployment]{
		name: "Deployment", group: appsv1.SchemeGroupVersion, resource: "deployments",
		new:   func() *appsv1.Deployment { return new(appsv1.Deployment) },
		keeps: everything,
	}
	ConfigMaps = Kind[*corev1.ConfigMap]{
		name: "ConfigMap", group: corev1.SchemeGroupVersion, resource: "configmaps",
		new:   func() *corev1.ConfigMap { return new(corev1.ConfigMap) },
		keeps: everything,
	}
)
