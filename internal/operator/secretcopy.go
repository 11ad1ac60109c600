package operator

import (
	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/model"
)

// Labels of a copy of a Secret, which name the Secret.
const (
	SecretNamespaceLabel = "secretsync.cilium.io/owning-secret-namespace"
	secretNameLabel      = "secretsync.cilium.io/owning-secret-name"
)

// SecretCopy is a Secret in the namespace that agents read: a certificate that
// some Gateway presents, and nothing else of the Secret that has it.
type SecretCopy struct {
	Name model.Name
	Of   model.Certificate
	// Held: the copy is there, and stays as it is. Its Name is known.
	Held bool
}

// Key is the copy's name.
func (s SecretCopy) Key() string { return s.Name.String() }

// Labels are the copy's.
func (s SecretCopy) Labels() map[string]string {
	return map[string]string{SecretNamespaceLabel: s.Of.Secret.Namespace, secretNameLabel: shortened(s.Of.Secret.Name)}
}

// Equal tells whether s and other are the same.
func (s SecretCopy) Equal(other SecretCopy) bool {
	return s.Name == other.Name && s.Held == other.Held && s.Of.Equal(other.Of)
}

func (c *Cluster) secretCopies(g *flow.Graph) {
	made := flow.Derive(g, "made secret copies", c.Certificates, SecretCopy.Equal,
		func(_ *flow.Reader, certificate model.Certificate) []SecretCopy {
			return []SecretCopy{{Name: SecretCopyName(c.settings.SecretsNamespace, certificate.Secret), Of: certificate}}
		})
	c.Secrets = flow.Union(g, "secret copies", SecretCopy.Equal, made, c.heldSecrets(g, made))
}
