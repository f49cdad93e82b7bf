// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package monitoring_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"sigs.k8s.io/yaml"
)

// tool returns the path of prometheus or promtool.
func tool(t *testing.T, name string) string {
	t.Helper()
	folder := os.Getenv("HNSGUARD_PROMETHEUS")
	if folder == "" {
		t.Fatal("$HNSGUARD_PROMETHEUS does not say where prometheus and promtool are; run: make test-monitoring")
	}
	return filepath.Join(folder, name)
}

// job is a way to scrape the agent.
type job struct {
	name, address, scheme, path string
	// authority must have signed the agent's certificate; if empty, the certificate is not verified.
	authority string
	token     string
}

// config returns the configuration of the job for Prometheus.
func (j job) config(t *testing.T, folder string) map[string]any {
	t.Helper()
	file := func(name, content string) string {
		path := filepath.Join(folder, j.name+"-"+name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	scrape := map[string]any{
		"job_name": j.name, "scheme": "https", "scrape_interval": "1s", "scrape_timeout": "1s",
		// The ServiceMonitor adds the node too.
		"static_configs": []any{map[string]any{"targets": []string{j.address}, "labels": map[string]string{"node": nodeName}}},
		"tls_config":     map[string]any{"insecure_skip_verify": true},
	}
	if j.scheme != "" {
		scrape["scheme"] = j.scheme
	}
	if j.path != "" {
		scrape["metrics_path"] = j.path
	}
	if j.authority != "" {
		scrape["tls_config"] = map[string]any{"ca_file": file("ca.crt", j.authority), "server_name": nodeName}
	}
	if j.token != "" {
		scrape["authorization"] = map[string]any{"credentials_file": file("token", j.token)}
	}
	return scrape
}

// prometheus is a Prometheus process.
type prometheus struct {
	url string
}

// startPrometheus starts a Prometheus that stops when the test ends.
func startPrometheus(t *testing.T, jobs []job, rules string) *prometheus {
	t.Helper()
	folder := t.TempDir()
	scrapes := make([]map[string]any, 0, len(jobs))
	for _, j := range jobs {
		scrapes = append(scrapes, j.config(t, folder))
	}
	config, err := yaml.Marshal(map[string]any{
		"global":     map[string]string{"evaluation_interval": "1s"},
		"rule_files": []string{rules}, "scrape_configs": scrapes,
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(folder, "prometheus.yaml")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	var log bytes.Buffer
	cmd := exec.Command(tool(t, "prometheus"), "--config.file="+file,
		"--storage.tsdb.path="+filepath.Join(folder, "data"), "--web.listen-address="+address)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting Prometheus: %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // "killed" is what it says
		if t.Failed() {
			t.Logf("Prometheus said:\n%s", log.String())
		}
	})
	p := &prometheus{url: "http://" + address}
	NewWithT(t).Eventually(func() (int, error) {
		response, err := http.Get(p.url + "/-/ready")
		if err != nil {
			return 0, err
		}
		return response.StatusCode, response.Body.Close()
	}, 30*time.Second, 100*time.Millisecond).Should(Equal(http.StatusOK))
	return p
}

// ask queries Prometheus' API, and decodes the data of the answer.
func (p *prometheus) ask(t *testing.T, path string, data any) error {
	t.Helper()
	response, err := http.Get(p.url + path)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer := struct {
		Status, Error string
		Data          json.RawMessage
	}{}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return fmt.Errorf("decoding the answer of %s: %w", path, err)
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s: %s", path, answer.Error)
	}
	return json.Unmarshal(answer.Data, data)
}

// query evaluates a query now, and returns the values of the resulting series.
func (p *prometheus) query(t *testing.T, query string) ([]float64, error) {
	t.Helper()
	var data struct {
		Result []struct{ Value [2]any }
	}
	if err := p.ask(t, "/api/v1/query?query="+url.QueryEscape(query), &data); err != nil {
		return nil, err
	}
	var values []float64
	for _, series := range data.Result {
		value, err := strconv.ParseFloat(fmt.Sprint(series.Value[1]), 64)
		if err != nil {
			return nil, err
		}
		values = append(values, value)
	}
	return values, nil
}

// names returns the names of all scraped metrics.
func (p *prometheus) names(t *testing.T) []string {
	t.Helper()
	var names []string
	if err := p.ask(t, "/api/v1/label/__name__/values", &names); err != nil {
		t.Fatal(err)
	}
	return names
}

// target is the state of a job.
type target struct {
	Health, LastError string
}

func (p *prometheus) target(t *testing.T, job string) (target, error) {
	t.Helper()
	var data struct {
		ActiveTargets []struct {
			target
			ScrapePool string
		}
	}
	if err := p.ask(t, "/api/v1/targets", &data); err != nil {
		return target{}, err
	}
	for _, active := range data.ActiveTargets {
		if active.ScrapePool == job {
			return active.target, nil
		}
	}
	return target{}, fmt.Errorf("there is no target of job %s", job)
}

// evaluatesRules checks whether all rules could be evaluated on the scraped data.
func (p *prometheus) evaluatesRules(t *testing.T) {
	t.Helper()
	g := NewWithT(t)
	type rule struct{ Name, Health, LastError string }
	var data struct {
		Groups []struct{ Rules []rule }
	}
	g.Eventually(func() ([]rule, error) {
		err := p.ask(t, "/api/v1/rules", &data)
		var all []rule
		for _, group := range data.Groups {
			all = slices.Concat(all, group.Rules)
		}
		return all, err
	}, 20*time.Second, 200*time.Millisecond).Should(And(Not(BeEmpty()), HaveEach(HaveField("Health", "ok"))))
}
