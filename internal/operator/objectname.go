package operator

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/waggle-mesh/waggle/internal/model"
)

// Names of objects that are made for others are Cilium's: manifests, scripts
// and dashboards refer to them.

// ObjectName is the name of the Service, the EndpointSlice and the main
// CiliumEnvoyConfig of a Gateway. A Service's name, unlike a Gateway's, has no
// dots.
func ObjectName(gateway model.Name) model.Name {
	name := "cilium-gateway-" + gateway.Name
	if strings.Contains(name, ".") {
		name = hashed(strings.ReplaceAll(name, ".", "-"), name)
	}
	return model.Name{Namespace: gateway.Namespace, Name: shortened(name)}
}

// partName is the name of the CiliumEnvoyConfig of a part of a host. Two hosts
// of one Gateway never have one: nobody finds another text of a given hash.
func partName(owner model.Name, table, host, suffix string) model.Name {
	sum := sha256.Sum256([]byte(model.Join(table, host)))
	name := owner.Name + "." + hex.EncodeToString(sum[:8])
	if suffix != "" {
		name += "-" + suffix
	}
	return model.Name{Namespace: owner.Namespace, Name: name}
}

// SecretCopyName is the name of the copy of a Secret in the namespace that
// agents read.
func SecretCopyName(namespace string, secret model.Name) model.Name {
	sum := sha256.Sum256([]byte("secret\x00" + secret.Namespace + "\x00" + secret.Name))
	return model.Name{Namespace: namespace, Name: "cilium-sync-secret-" + hex.EncodeToString(sum[:])}
}

// longestName is that of a Service, and of a label's value.
const longestName = 63

// shortened makes a name fit.
func shortened(name string) string {
	if len(name) <= longestName {
		return name
	}
	return hashed(name, name)
}

// hashed is the beginning of a text, and of the hash of a name in letters that
// form no words.
func hashed(text, name string) string {
	sum := sha256.Sum256([]byte(name))
	safe := strings.NewReplacer("0", "g", "1", "h", "3", "k", "a", "m", "e", "t")
	return text[:min(len(text), 52)] + "-" + safe.Replace(hex.EncodeToString(sum[:5]))
}
