package kube

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/waggle-mesh/waggle/internal/model"
)

// Event is something to tell of an object, for whoever describes it.
type Event struct {
	Object     model.Ref
	APIVersion string // of the object
	UID        string // of the object
	// Version is the object's that the event is about. Events that differ in
	// nothing else are two; empty: it holds for all versions.
	Version  string
	Reason   string // one word, as in conditions
	Message  string
	Reporter string // "cilium-agent"
}

var events = Kind[*corev1.Event]{name: "Event", group: corev1.SchemeGroupVersion, resource: "events",
	new: func() *corev1.Event { return new(corev1.Event) }}

// Warn writes an event of type Warning. Equal ones have one name, so that it is
// written once, however many agents say it and however often.
func Warn(ctx context.Context, c *Client, e Event) error {
	return e.write(ctx, c, corev1.EventTypeWarning)
}

// Tell is Warn for what is as it should be.
func Tell(ctx context.Context, c *Client, e Event) error {
	return e.write(ctx, c, corev1.EventTypeNormal)
}

func (e Event) write(ctx context.Context, c *Client, kind string) error {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s\x00%s\x00%s\x00%s", e.UID, e.Version, e.Reason, e.Message)
	now, namespace := metav1.NewTime(time.Now()), e.Object.Namespace
	if namespace == "" {
		namespace = metav1.NamespaceDefault
	}
	_, err := Create(ctx, c, events, &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("%.200s.%016x", e.Object.Name.Name, h.Sum64())},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: e.APIVersion, Kind: e.Object.Kind, Namespace: e.Object.Namespace, Name: e.Object.Name.Name, UID: types.UID(e.UID),
		},
		Reason: e.Reason, Message: e.Message, Type: kind, Count: 1,
		Source:         corev1.EventSource{Component: e.Reporter},
		FirstTimestamp: now, LastTimestamp: now,
	})
	if errors.Is(err, ErrExists) {
		return nil
	}
	return err
}
