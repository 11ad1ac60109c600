package install

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waggle-mesh/waggle/internal/kube"
	"github.com/waggle-mesh/waggle/internal/model"
)

// cleaner is the name of what cleans the nodes.
const cleaner = "waggle-cleanup"

// CleanNodes removes what agents have made on every node where they ran, when
// none runs any more: in pods that are theirs but for the command. It tells how
// far it is whenever that changes.
func CleanNodes(ctx context.Context, c *kube.Client, agents *appsv1.DaemonSet, tell func(done, all int32)) error {
	name := model.Name{Namespace: agents.Namespace, Name: cleaner}
	if err := removeCleaner(ctx, c, name); err != nil { // of an earlier try
		return err
	}
	if _, err := kube.Create(ctx, c, kube.DaemonSets, cleanerOf(agents)); err != nil {
		return err
	}
	told := int32(-1)
	err := poll(ctx, func() (bool, error) {
		o, err := kube.Get(ctx, c, kube.DaemonSets, name)
		if err != nil {
			return false, err
		}
		s := o.Status
		if s.NumberReady != told && s.ObservedGeneration > 0 {
			told = s.NumberReady
			tell(s.NumberReady, s.DesiredNumberScheduled)
		}
		return s.ObservedGeneration > 0 && s.NumberReady == s.DesiredNumberScheduled, nil
	})
	if err != nil {
		patient := context.WithoutCancel(ctx)
		return errors.Join(err, cleanerTroubles(patient, c, name.Namespace), removeCleaner(patient, c, name))
	}
	return removeCleaner(ctx, c, name)
}

// removeCleaner deletes it, if it is there, and waits for the end of its pods.
func removeCleaner(ctx context.Context, c *kube.Client, name model.Name) error {
	if err := kube.Delete(ctx, c, kube.DaemonSets, name, ""); err != nil {
		return err
	}
	return poll(ctx, func() (bool, error) {
		pods, err := cleanerPods(ctx, c, name.Namespace)
		return len(pods) == 0, err
	})
}

func cleanerPods(ctx context.Context, c *kube.Client, namespace string) ([]*corev1.Pod, error) {
	return kube.List(ctx, c, kube.Pods, namespace, metav1.ListOptions{LabelSelector: "app=" + cleaner})
}

// cleanerTroubles says of each node that is not clean why.
func cleanerTroubles(ctx context.Context, c *kube.Client, namespace string) error {
	pods, err := cleanerPods(ctx, c, namespace)
	errs := []error{err}
	for _, p := range pods {
		if len(p.Status.InitContainerStatuses) == 0 {
			errs = append(errs, fmt.Errorf("node %s: its pod does not begin", p.Spec.NodeName))
			continue
		}
		state, last := p.Status.InitContainerStatuses[0].State, p.Status.InitContainerStatuses[0].LastTerminationState
		switch {
		case state.Terminated != nil && state.Terminated.ExitCode != 0:
			errs = append(errs, fmt.Errorf("node %s: %s", p.Spec.NodeName, state.Terminated.Message))
		case last.Terminated != nil:
			errs = append(errs, fmt.Errorf("node %s: %s", p.Spec.NodeName, last.Terminated.Message))
		case state.Waiting != nil:
			errs = append(errs, fmt.Errorf("node %s: %s %s", p.Spec.NodeName, state.Waiting.Reason, state.Waiting.Message))
		}
	}
	return errors.Join(errs...)
}

// cleaned are the flags for the directories that the cleaner removes, by volume.
// It sees the node's directories that hold them below hostDir: with mounts of them
// themselves it could not remove them.
var cleaned = map[string]string{"run": "--state-dir=", "lib": "--lasting-dir="}

const hostDir = "/host/"

// agentsAlone are volumes that end with the release, or are no business of the
// cleaner's.
var agentsAlone = []string{"config", "token"}

// cleanerOf is the agents' DaemonSet with another command. Its pods are ready
// when their node is clean.
func cleanerOf(agents *appsv1.DaemonSet) *appsv1.DaemonSet {
	pod := agents.Spec.Template.Spec.DeepCopy()
	labels := map[string]string{"app": cleaner}
	work := pod.Containers[0]
	command := []string{"/usr/bin/waggle", "cleanup", "--cni-bin-dir=/host/opt/cni/bin", "--cni-conf-dir=/host/etc/cni/net.d"}
	for i, v := range pod.Volumes {
		if flag, ok := cleaned[v.Name]; ok && v.HostPath != nil {
			command = append(command, flag+path.Join(hostDir+v.Name, path.Base(v.HostPath.Path)))
			pod.Volumes[i].HostPath = &corev1.HostPathVolumeSource{Path: path.Dir(v.HostPath.Path)}
		}
	}
	var mounts []corev1.VolumeMount
	for _, m := range work.VolumeMounts {
		if slices.Contains(agentsAlone, m.Name) {
			continue
		}
		if cleaned[m.Name] != "" {
			m.MountPath = hostDir + m.Name
		}
		mounts = append(mounts, m)
	}
	work = corev1.Container{
		Name: "cleanup", Image: work.Image, ImagePullPolicy: work.ImagePullPolicy, Command: command,
		SecurityContext: work.SecurityContext, VolumeMounts: mounts, TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
	}
	stay := work
	stay.Name, stay.Command = "clean", append(command[:len(command):len(command)], "--stay")
	none, no := int64(0), false
	return &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: agents.Namespace, Name: cleaner, Labels: labels},
		Spec: appsv1.DaemonSetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{
					AutomountServiceAccountToken: &no, TerminationGracePeriodSeconds: &none, HostNetwork: true, HostPID: true,
					PriorityClassName: pod.PriorityClassName, NodeSelector: pod.NodeSelector, Affinity: pod.Affinity,
					Tolerations: pod.Tolerations, ImagePullSecrets: pod.ImagePullSecrets,
					InitContainers: []corev1.Container{work}, Containers: []corev1.Container{stay},
					Volumes: slices.DeleteFunc(pod.Volumes, func(v corev1.Volume) bool { return slices.Contains(agentsAlone, v.Name) }),
				},
			},
		},
	}
}

// poll asks twice a second until it is done or an error comes.
func poll(ctx context.Context, done func() (bool, error)) error {
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(500 * time.Millisecond):
		}
	}
}
