package kube

import corev1 "k8s.io/api/core/v1"

// Secrets are read with what is in them where it is a certificate with its
// key; of all others it is enough to know that they are there.
var Secrets = Kind[*corev1.Secret]{
	name: "Secret", group: corev1.SchemeGroupVersion, resource: "secrets",
	new: func() *corev1.Secret { return new(corev1.Secret) },
	trim: func(s *corev1.Secret) {
		if s.StringData = nil; s.Type != corev1.SecretTypeTLS {
			s.Data = nil
			return
		}
		for name := range s.Data {
			if name != corev1.TLSCertKey && name != corev1.TLSPrivateKeyKey {
				delete(s.Data, name)
			}
		}
	},
}

// CertificateSecrets leave out the Secrets that are many and long and cannot
// be certificates.
const CertificateSecrets = "type!=helm.sh/release.v1,type!=kubernetes.io/service-account-token,type!=kubernetes.io/dockerconfigjson"

// OwnSecrets are those that the operator writes, whole; read by a label that
// they have.
var OwnSecrets = Kind[*corev1.Secret]{
	name: "Secret", group: corev1.SchemeGroupVersion, resource: "secrets",
	new:   func() *corev1.Secret { return new(corev1.Secret) },
	keeps: everything,
}
