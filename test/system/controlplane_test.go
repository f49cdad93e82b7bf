// SPDX-License-Identifier: Apache-2.0

package system_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/cert"
)

// startControlPlane starts etcd and kube-apiserver, which store everything in a folder and end with the test.
// controller-runtime's envtest would do the same, but does not compile for Windows.
func startControlPlane(t *testing.T, programs, dir string) (*rest.Config, error) {
	t.Helper()
	etcd, peers, port := "http://127.0.0.1:"+freePort(t), "http://127.0.0.1:"+freePort(t), freePort(t)
	err := serve(t, exec.Command(filepath.Join(programs, executable("etcd")),
		"--data-dir", filepath.Join(dir, "etcd"), "--unsafe-no-fsync", "--log-level", "error",
		"--listen-client-urls", etcd, "--advertise-client-urls", etcd, "--listen-peer-urls", peers), etcd+"/health")
	if err != nil {
		return nil, err
	}
	// The key of one self-signed certificate also signs the accounts' tokens.
	crt, key, err := cert.GenerateSelfSignedCertKey("127.0.0.1", []net.IP{net.IPv4(127, 0, 0, 1)}, nil)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{"tls.crt": crt, "tls.key": key, "tokens.csv": []byte(adminToken + ",admin,admin,system:masters\n")}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return nil, err
		}
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	host := "https://127.0.0.1:" + port
	err = serve(t, exec.Command(filepath.Join(programs, executable("kube-apiserver")),
		"--etcd-servers", etcd, "--bind-address", "127.0.0.1", "--secure-port", port, "--cert-dir", dir,
		"--tls-cert-file", in("tls.crt"), "--tls-private-key-file", in("tls.key"), "--token-auth-file", in("tokens.csv"),
		"--service-account-issuer", host+"/", "--service-account-key-file", in("tls.key"),
		"--service-account-signing-key-file", in("tls.key"), "--disable-admission-plugins", "ServiceAccount",
		"--allow-privileged", "--authorization-mode", "RBAC", "--service-cluster-ip-range", "10.0.0.0/16,fd00:10::/112"), host+"/readyz")
	return &rest.Config{Host: host, BearerToken: adminToken, TLSClientConfig: rest.TLSClientConfig{CAData: crt}}, err
}

// adminToken is the token of an administrator.
const adminToken = "admin"

// serve starts a server, and waits until it answers.
func serve(t *testing.T, cmd *exec.Cmd, url string) error {
	t.Helper()
	p, err := launch(t, cmd)
	if err != nil {
		return err
	}
	// Wine or a virus scanner may check the program at its first start.
	up := becomes(t.Context(), 2*time.Minute, func() bool { return p.hasEnded() || ask(t.Context(), url, "") == http.StatusOK })
	if !up || p.hasEnded() {
		return fmt.Errorf("%s does not answer at %s:\n%s", filepath.Base(cmd.Path), url, tail(p.log.String(), 20))
	}
	return nil
}
