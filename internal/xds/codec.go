package xds

import (
	"unicode/utf8"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/encoding"
	encodingproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// codec reads what Envoy says though its words are no text. It quotes what it
// rejects, and cuts that where it is too long, in the middle of a character or
// not: whoever wrote it could end the streams of all nodes otherwise.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2(encodingproto.Name)} }

// Unmarshal is gRPC's.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	err := c.CodecV2.Unmarshal(data, v)
	request, ok := v.(*discovery.DeltaDiscoveryRequest)
	if err == nil || !ok {
		return err
	}
	message := data.Materialize()
	const errorDetail, words = 7, 2 // of a DeltaDiscoveryRequest; of a google.rpc.Status
	eachField(message, errorDetail, func(status []byte) { eachField(status, words, makeText) })
	return proto.Unmarshal(message, request)
}

// eachField calls f with each field of a number that has bytes.
func eachField(message []byte, number protowire.Number, f func([]byte)) {
	for len(message) > 0 {
		at, kind, tag := protowire.ConsumeTag(message)
		size := protowire.ConsumeFieldValue(at, kind, message[max(tag, 0):])
		if tag < 0 || size < 0 {
			return // Unmarshal says so
		}
		if value := message[tag : tag+size]; at == number && kind == protowire.BytesType {
			inner, _ := protowire.ConsumeBytes(value)
			f(inner)
		}
		message = message[tag+size:]
	}
}

// makeText puts a question mark in place of each byte that is of no character.
func makeText(words []byte) {
	for i := 0; i < len(words); {
		r, size := utf8.DecodeRune(words[i:])
		if r == utf8.RuneError && size == 1 {
			words[i] = '?'
		}
		i += size
	}
}
