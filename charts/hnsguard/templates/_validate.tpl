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
{{- if and .Values.firewall.enabled (not .Values.firewall.remoteAddresses) -}}
{{- fail "firewall.enabled needs firewall.remoteAddresses: a rule that lets everybody in is not made by default. Name the ranges that scrapers come from" -}}
{{- end -}}
{{- if and .Values.firewall.enabled (not $metrics.enabled) -}}
{{- fail "firewall.enabled is true, but metrics.enabled is false: there is no port to open" -}}
{{- end -}}
{{- if ne (not .Values.apiServer.host) (not .Values.apiServer.port) -}}
{{- fail "apiServer.host and apiServer.port go together: set both, or none" -}}
{{- end -}}
{{- if and (include "hnsguard.enforces" (list . "reprogram")) (not .Values.admissionPolicy.enabled) -}}
{{- fail "config.reprogram.mode is enforce, but admissionPolicy.enabled is false: without the policy every node could make and delete the EndpointSlices of every Service. Enable the policy, or set config.reprogram.mode to observe" -}}
{{- end -}}
{{- if and .Values.admissionPolicy.enabled (semverCompare "<1.30.0-0" .Capabilities.KubeVersion.Version) -}}
{{- fail (printf "admissionPolicy.enabled needs Kubernetes 1.30, this is %s. Set it to false to go without: then what the agent may write is as wide as its roles, for every node alike" .Capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- end }}
