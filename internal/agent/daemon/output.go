package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	waggle "github.com/waggle-mesh/waggle/api/waggle.io/v1alpha1"
	"github.com/waggle-mesh/waggle/internal/agent"
	"github.com/waggle-mesh/waggle/internal/identity"
	"github.com/waggle-mesh/waggle/internal/kube"
	"github.com/waggle-mesh/waggle/internal/model"
)

// lasting is a part of Outputs of rows that leave nothing to be taken back.
type lasting struct{}

// Delete does nothing.
func (lasting) Delete(context.Context, string) error { return nil }

// Prune does nothing.
func (lasting) Prune(context.Context, []string) error { return nil }

// identities is the Output that makes CiliumIdentities. Those that nobody
// needs any more are not an agent's to remove.
type identities struct {
	lasting
	client *kube.Client
	source *kube.Source[*ciliumv2.CiliumIdentity]
}

// Update makes an identity for a set of labels, or finds that another agent
// has.
func (o identities) Update(ctx context.Context, row agent.IdentityRequest) (model.Identity, error) {
	for number := range identity.Candidates(row.Labels) {
		name := model.Name{Name: strconv.Itoa(int(number))}
		have, known := o.source.Newest(name)
		if !known {
			_, err := kube.Create(ctx, o.client, kube.Identities, &ciliumv2.CiliumIdentity{
				ObjectMeta:     metav1.ObjectMeta{Name: name.Name, Labels: row.Labels.OfObject()},
				SecurityLabels: row.Labels,
			})
			if !errors.Is(err, kube.ErrExists) {
				return number, err
			}
			if have, err = kube.Get(ctx, o.client, kube.Identities, name); err != nil {
				return 0, err
			}
		}
		if maps.Equal(have.SecurityLabels, row.Labels) {
			return number, nil
		}
	}
	return 0, fmt.Errorf("all %d identities are in use", model.LastPodIdentity-model.FirstPodIdentity+1)
}

// annotations is the Output of a node's annotations.
type annotations struct {
	lasting
	client *kube.Client
}

// Update writes what is not as it should be.
func (o annotations) Update(ctx context.Context, row agent.NodeAnnotations) (struct{}, error) {
	return struct{}{}, kube.AnnotateNode(ctx, o.client, row.Node, row.Values)
}

// warnings is the Output that tells of fields without effect.
type warnings struct {
	lasting
	client *kube.Client
}

// Update writes an event for each field.
func (o warnings) Update(ctx context.Context, row agent.Unsupported) (struct{}, error) {
	for _, field := range row.Fields {
		err := kube.Warn(ctx, o.client, kube.Event{
			Object: row.Object, APIVersion: "v1", UID: row.UID,
			Reason: "UnsupportedField", Message: field, Reporter: "cilium-agent",
		})
		if err != nil {
			return struct{}{}, err
		}
	}
	return struct{}{}, nil
}

// endpointObjects is the Output of CiliumEndpoints.
func endpointObjects(c *kube.Client, source *kube.Source[*ciliumv2.CiliumEndpoint], self *corev1.Node) *kube.Writer[agent.EndpointObject, *ciliumv2.CiliumEndpoint] {
	return kube.NewWriter(c, source, kube.WriterOptions[agent.EndpointObject, *ciliumv2.CiliumEndpoint]{
		Name: model.NameFrom,
		Fill: func(row agent.EndpointObject, o *ciliumv2.CiliumEndpoint) {
			o.Labels, o.Status = row.Labels, row.Status
			o.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: row.Name.Name, UID: types.UID(row.PodUID)}}
		},
		Ours: func(o *ciliumv2.CiliumEndpoint) bool { return isOf(self, o) },
	})
}

// isOf tells whether an endpoint is of a node's pods.
func isOf(node *corev1.Node, o *ciliumv2.CiliumEndpoint) bool {
	return o.Status.Networking != nil && slices.ContainsFunc(node.Status.Addresses, func(a corev1.NodeAddress) bool {
		return a.Address == o.Status.Networking.NodeIP
	})
}

// envoyNodes is the Output of what the node's Envoy has said.
func envoyNodes(c *kube.Client, source *kube.Source[*waggle.EnvoyNode], self *corev1.Node) *kube.Writer[agent.EnvoyAnswer, *waggle.EnvoyNode] {
	return kube.NewWriter(c, source, kube.WriterOptions[agent.EnvoyAnswer, *waggle.EnvoyNode]{
		Name: model.NameFrom,
		Fill: func(row agent.EnvoyAnswer, o *waggle.EnvoyNode) {
			o.SetAnswered(row.Configs)
			o.Rejected, o.MoreRejected = row.Rejected, row.More
			o.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: self.Name, UID: self.UID}}
		},
		Ours: func(*waggle.EnvoyNode) bool { return false },
	})
}
