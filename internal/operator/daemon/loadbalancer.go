package daemon

import (
	"context"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	"github.com/waggle-mesh/waggle/internal/ipam/loadbalancer"
	"github.com/waggle-mesh/waggle/internal/kube"
	"github.com/waggle-mesh/waggle/internal/model"
)

// serviceAddresses writes which addresses Services of type LoadBalancer have.
type serviceAddresses struct {
	client *kube.Client
	source *kube.Source[*corev1.Service]
}

// Update writes a Service's addresses and condition, if they differ.
func (o serviceAddresses) Update(ctx context.Context, a loadbalancer.Assignment) (struct{}, error) {
	s, ok := o.source.Newest(a.Service)
	if !ok {
		return struct{}{}, nil // gone: so will be the row
	}
	status, changed := addressStatus(s, a, time.Now())
	if !changed {
		return struct{}{}, nil
	}
	return struct{}{}, kube.PatchStatus(ctx, o.client, kube.Services, a.Service, s.UID, status)
}

// addressStatus is what must be changed in a Service's status.
func addressStatus(s *corev1.Service, a loadbalancer.Assignment, now time.Time) (status map[string]any, changed bool) {
	condition := a.Condition()
	condition.ObservedGeneration, condition.LastTransitionTime = s.Generation, metav1.NewTime(now)
	if had := meta.FindStatusCondition(s.Status.Conditions, condition.Type); had != nil && had.Status == condition.Status {
		condition.LastTransitionTime = had.LastTransitionTime
		changed = had.Reason != condition.Reason || had.Message != condition.Message
	} else {
		changed = true
	}
	ingress := []corev1.LoadBalancerIngress{} // an empty list removes
	for _, address := range a.Addresses {
		ingress = append(ingress, corev1.LoadBalancerIngress{IP: address.String()})
	}
	if !slices.EqualFunc(ingress, s.Status.LoadBalancer.Ingress, func(want, has corev1.LoadBalancerIngress) bool {
		address, err := netip.ParseAddr(has.IP)
		return err == nil && address.String() == want.IP && has.Hostname == ""
	}) {
		changed = true
	}
	return map[string]any{"loadBalancer": map[string]any{"ingress": ingress}, "conditions": []metav1.Condition{condition}}, changed
}

// Delete takes its addresses from a Service that is to have none any more: one
// of another type or class. One that nothing was said of is left alone.
func (o serviceAddresses) Delete(ctx context.Context, key string) error {
	name := model.NameFrom(key)
	s, ok := o.source.Newest(name)
	if !ok || s.DeletionTimestamp != nil || meta.FindStatusCondition(s.Status.Conditions, loadbalancer.SatisfiedCondition) == nil {
		return nil
	}
	return kube.PatchStatus(ctx, o.client, kube.Services, name, s.UID, map[string]any{
		"loadBalancer": map[string]any{"ingress": []any{}},
		"conditions":   []any{map[string]any{"type": loadbalancer.SatisfiedCondition, "$patch": "delete"}},
	})
}

// Prune does so with what an earlier operator left.
func (o serviceAddresses) Prune(ctx context.Context, keys []string) error {
	ours := map[string]bool{}
	for _, key := range keys {
		ours[key] = true
	}
	for _, s := range o.source.All() {
		key := model.Name{Namespace: s.Namespace, Name: s.Name}.String()
		if !ours[key] {
			if err := o.Delete(ctx, key); err != nil {
				return err
			}
		}
	}
	return nil
}

// poolStatuses writes how full pools are.
type poolStatuses struct {
	client *kube.Client
	source *kube.Source[*ciliumv2.CiliumLoadBalancerIPPool]
}

// Update writes a pool's conditions, if they differ.
func (o poolStatuses) Update(ctx context.Context, u loadbalancer.PoolUse) (struct{}, error) {
	name := model.Name{Name: u.Pool}
	p, ok := o.source.Newest(name)
	if !ok {
		return struct{}{}, nil
	}
	conditions, changed := slices.Clone(p.Status.Conditions), false
	for _, c := range u.Conditions() {
		c.ObservedGeneration = p.Generation
		if meta.SetStatusCondition(&conditions, c) {
			changed = true
		}
	}
	if !changed {
		return struct{}{}, nil
	}
	return struct{}{}, kube.PatchStatus(ctx, o.client, kube.Pools, name, p.UID, map[string]any{"conditions": conditions})
}

// Delete does nothing: a pool's status ends with it.
func (poolStatuses) Delete(context.Context, string) error { return nil }

// Prune does nothing.
func (poolStatuses) Prune(context.Context, []string) error { return nil }
