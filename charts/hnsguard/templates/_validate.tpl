{{/* SPDX-License-Identifier: Apache-2.0 */}}

{{/* What the schema cannot say: values that make no sense together. Every message says what to do. */}}
{{- define "hnsguard.validate" -}}
{{- $metrics := .Values.metrics -}}
{{- $monitored := or $metrics.serviceMonitor.enabled $metrics.podMonitor.enabled -}}
{{- if and $metrics.serviceMonitor.enabled $metrics.podMonitor.enabled -}}
{{- fail "metrics.serviceMonitor.enabled and metrics.podMonitor.enabled are both true: every node would be scraped twice. Enable one of them" -}}
{{- end -}}
{{- if and $monitored (not $metrics.enabled) -}}
{{- fail "a monitor is enabled, but metrics.enabled is false: there is nothing to scrape. Set metrics.enabled to true" -}}
{{- end -}}
{{- if and $metrics.serviceMonitor.enabled (not $metrics.service.enabled) -}}
{{- fail "metrics.serviceMonitor.enabled needs metrics.service.enabled: a ServiceMonitor finds its targets by a Service" -}}
{{- end -}}
{{- if and $monitored (hasPrefix "127." (include "hnsguard.metricsBindAddress" .)) -}}
{{- fail "a monitor is enabled, but the metrics are served on loopback only, where no scraper can reach them. Set metrics.secure to true, or metrics.bindAddress to an address of the node" -}}
{{- end -}}
{{- if and $metrics.podMonitor.enabled $metrics.secure (not $metrics.podMonitor.authorization) -}}
{{- fail "metrics.podMonitor needs metrics.podMonitor.authorization while metrics.secure is true: a PodMonitor cannot use Prometheus' own token. Name a Secret with a token there, or use metrics.serviceMonitor" -}}
{{- end -}}
{{- if and $metrics.certSecret (not $metrics.secure) -}}
{{- fail "metrics.certSecret is of no use while metrics.secure is false: plain HTTP has no certificate. Set metrics.secure to true, or leave the Secret out" -}}
{{- end -}}
{{- if eq (int64 $metrics.port) (int64 .Values.probes.port) -}}
{{- fail (printf "metrics.port and probes.port are both %v: one process cannot listen twice on one port" $metrics.port) -}}
{{- end -}}
{{- if and (include "hnsguard.pageIsPublic" .) (not (and $metrics.enabled $metrics.secure)) -}}
{{- fail "page.bindAddress is not on loopback, but the metrics are not served securely: the page has no certificate and no authorization of its own. Set metrics.enabled and metrics.secure to true, or leave page.bindAddress empty" -}}
{{- end -}}
{{- if and .Values.page.enabled (has (int64 .Values.page.port) (list (int64 $metrics.port) (int64 .Values.probes.port))) -}}
{{- fail (printf "page.port is %v, as is metrics.port or probes.port: one process cannot listen twice on one port" .Values.page.port) -}}
{{- end -}}
{{- if and .Values.firewall.enabled (not .Values.firewall.remoteAddresses) -}}
{{- fail "firewall.enabled needs firewall.remoteAddresses: by default no rule admits every address. Name the ranges that scrapers come from" -}}
{{- end -}}
{{- if and .Values.firewall.enabled (not $metrics.enabled) -}}
{{- fail "firewall.enabled is true, but metrics.enabled is false: there is no port to open" -}}
{{- end -}}
{{- if ne (not .Values.apiServer.host) (not .Values.apiServer.port) -}}
{{- fail "apiServer.host and apiServer.port go together: set both, or none" -}}
{{- end -}}
{{- if not .Values.admissionPolicy.enabled -}}
{{- range $class, $harm := dict "keep" "create and delete the EndpointSlices of every Service" "reprogram" "create and delete the EndpointSlices of every Service" "eviction" "evict every pod of the cluster" -}}
{{- if include "hnsguard.enforces" (list $ $class) -}}
{{- fail (printf "config.%[1]s.mode is enforce, but admissionPolicy.enabled is false: without the policy every node could %[2]s. Enable the policy, which needs Kubernetes 1.30, or set config.%[1]s.mode to observe" $class $harm) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- include "hnsguard.validateDurations" .Values.config -}}
{{- if and .Values.admissionPolicy.enabled (semverCompare "<1.30.0-0" .Capabilities.KubeVersion.Version) -}}
{{- fail (printf "admissionPolicy.enabled needs Kubernetes 1.30, this is %s. Set it to false to go without: then only its roles restrict what the agent may write, for every node" .Capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- end }}

{{/* The agent refuses durations out of range at its start. A schema cannot compare durations, so they are refused here
first, all at once. The ranges are those of the agent; a test compares them. */}}
{{- define "hnsguard.validateDurations" -}}
{{- $config := . -}}
{{- $faults := list -}}
{{- range list
  (list "orphan" "gracePeriod" "10s" "24h")
  (list "orphan" "gracePeriodWhileWaiting" "1s" "24h")
  (list "eviction" "after" "10s" "1h")
  (list "poll" "fastInterval" "50ms" "1m")
  (list "poll" "slowInterval" "1s" "5m")
  (list "hns" "callTimeout" "1s" "10m")
-}}
{{- $value := dig (index . 0) (index . 1) "" $config -}}
{{- $least := index . 2 -}}
{{- $most := index . 3 -}}
{{- $seconds := include "hnsguard.seconds" $value | float64 -}}
{{- if and $value (or (lt $seconds (include "hnsguard.seconds" $least | float64)) (gt $seconds (include "hnsguard.seconds" $most | float64))) -}}
{{- $faults = append $faults (printf "config.%s.%s is %s, but must be between %s and %s" (index . 0) (index . 1) $value $least $most) -}}
{{- end -}}
{{- end -}}
{{- range list
  (list "orphan" "gracePeriodWhileWaiting" "gracePeriod")
  (list "poll" "fastInterval" "slowInterval")
-}}
{{- $value := dig (index . 0) (index . 1) "" $config -}}
{{- $bound := dig (index . 0) (index . 2) "" $config -}}
{{- if and $value $bound (gt (include "hnsguard.seconds" $value | float64) (include "hnsguard.seconds" $bound | float64)) -}}
{{- $faults = append $faults (printf "config.%s.%s is %s, but must not be longer than config.%s.%s, which is %s" (index . 0) (index . 1) $value (index . 0) (index . 2) $bound) -}}
{{- end -}}
{{- end -}}
{{- with $faults }}{{ fail (join "; " .) }}{{ end -}}
{{- end }}

{{/* How many seconds a duration of Go has, which the schema has checked to be one. */}}
{{- define "hnsguard.seconds" -}}
{{- $seconds := 0.0 -}}
{{- range regexFindAll "[0-9]+(\\.[0-9]+)?(ms|s|m|h)" . -1 -}}
{{- $unit := regexFind "[a-z]+" . -}}
{{- $factor := get (dict "ms" 0.001 "s" 1.0 "m" 60.0 "h" 3600.0) $unit -}}
{{- $seconds = addf $seconds (mulf (trimSuffix $unit . | float64) $factor) -}}
{{- end -}}
{{- $seconds -}}
{{- end }}
