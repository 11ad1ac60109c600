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

// Event is a warning about an object, for whoever describes it.
type Event struct {
	Object     model.Ref
	APIVersion string // of the object
	UID        string // of the object
	Reason     string // one word, as in conditions
	Message    string
	Reporter   string // "cilium-agent"
}

var events = Kind[*corev1.Event]{name: "Event", group: corev1.SchemeGroupVersion, resource: "events",
	new: func() *corev1.Event { return new(corev1.Event) }}

// Warn writes an event. Equal ones have one name, so that it is written once,
// however many agents say it and however often.
func Warn(ctx context.Context, c *Client, e Event) error {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s\x00%s\x00%s", e.UID, e.Reason, e.Message)
	now, namespace := metav1.NewTime(time.Now()), e.Object.Namespace
	if namespace == "" {
		namespace = metav1.NamespaceDefault
	}
	_, err := Create(ctx, c, events, &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("%.200s.%016x", e.Object.Name.Name, h.Sum64())},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: e.APIVersion, Kind: e.Object.Kind, Namespace: e.Object.Namespace, Name: e.Object.Name.Name, UID: types.UID(e.UID),
		},
		Reason: e.Reason, Message: e.Message, Type: corev1.EventTypeWarning, Count: 1,
		Source:         corev1.EventSource{Component: e.Reporter},
		FirstTimestamp: now, LastTimestamp: now,
	})
	if errors.Is(err, ErrExists) {
		return nil
	}
	return err
}
