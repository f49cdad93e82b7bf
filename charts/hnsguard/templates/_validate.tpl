{{/* SPDX-License-Identifier: Apache-2.0 */}}

{{/* What the schema cannot say. All faults are reported at once, and each message says what to do. */}}
{{- define "hnsguard.validate" -}}
{{- with include "hnsguard.emptyValues" . | trim | splitList "\n" | uniq | join ", " -}}
{{- fail (printf "these values are empty, with which Helm removes the chart's defaults: %s. Remove their lines to keep the defaults, or give them values" .) -}}
{{- end -}}
{{- with include "hnsguard.faults" . | trim -}}
{{- fail (printf "the values cannot be used:\n  - %s" (replace "\n" "\n  - " .)) -}}
{{- end -}}
{{- end }}

{{/* The values that are empty, of those that must not be: a key with nothing after it is null in YAML. Without a map, all
that is in it is missing too; then only the map is named. */}}
{{- define "hnsguard.emptyValues" -}}
{{- range $path := splitList " " (include "hnsguard.neededValues" . | trim | replace "\n" " ") -}}
{{- $value := $.Values -}}
{{- $walked := list -}}
{{- range splitList "." $path -}}
{{- if kindIs "map" $value -}}
{{- $value = index $value . -}}
{{- $walked = append $walked . -}}
{{- if kindIs "invalid" $value }}
{{ join "." $walked }}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}
{{- define "hnsguard.neededValues" }}
image.registry image.repository resources runAsUserName test token.expirationSeconds verticalPodAutoscaler
config.mode config.conflict.mode config.orphan.mode config.flush.mode config.keep.mode config.reprogram.mode config.eviction.mode
logging.level logging.format kubeProxy apiServer serviceAccount.create rbac.create openshift admissionPolicy.enabled
metrics.enabled metrics.port metrics.secure metrics.service.enabled metrics.scraper.clusterRole metrics.scraper.serviceAccount
metrics.serviceMonitor.bearerTokenFile metrics.podMonitor page.enabled page.port probes.port firewall.ruleName
dashboards prometheusRule.runbookURL prometheusRule.alerts prometheusRule.alerts.HNSGuardPassTooOld.ageSeconds
prometheusRule.alerts.HNSGuardHNSFailing.errorsPerSecond prometheusRule.alerts.HNSGuardEndpointLeak.orphansPerHour
prometheusRule.alerts.HNSGuardKubeProxyStopped.ageSeconds prometheusRule.alerts.HNSGuardKubeProxyBehind.ageSeconds
prometheusRule.alerts.HNSGuardKeepSliceUnused.ageSeconds prometheusRule.alerts.HNSGuardAddressesReusedTooSoon.seconds
prometheusRule.alerts.HNSGuardAddressesReusedTooSoon.share prometheusRule.alerts.HNSGuardAddressesReusedTooSoon.minimum
{{- end }}

{{/* The faults, one a line. */}}
{{- define "hnsguard.faults" -}}
{{- include "hnsguard.faultyNames" . }}
{{- include "hnsguard.faultyMetrics" . }}
{{- include "hnsguard.faultyPorts" . }}
{{- include "hnsguard.faultyDurations" .Values.config }}
{{- include "hnsguard.faultyRanges" . }}
{{- include "hnsguard.faultyExtras" . }}
{{- if ne (not .Values.apiServer.host) (not .Values.apiServer.port) }}
apiServer.host and apiServer.port go together: set both, or none
{{- end }}
{{- if not .Values.admissionPolicy.enabled -}}
{{- range $class, $harm := dict "keep" "create and delete the EndpointSlices of every Service" "reprogram" "create and delete the EndpointSlices of every Service" "eviction" "evict every pod of the cluster" }}
{{- if include "hnsguard.enforces" (list $ $class) }}
config.{{ $class }}.mode is enforce, but admissionPolicy.enabled is false: without the policy every node could {{ $harm }}. Enable the policy, which needs Kubernetes 1.30, or set config.{{ $class }}.mode to observe
{{- end }}
{{- end }}
{{- else if semverCompare "<1.30.0-0" .Capabilities.KubeVersion.Version }}
admissionPolicy.enabled needs Kubernetes 1.30, this is {{ .Capabilities.KubeVersion.Version }}. Set it to false to go without: then only its roles restrict what the agent may write, for every node
{{- end }}
{{- end }}

{{/* Names that Kubernetes would refuse, and labels by which the chart could not find its own pods. */}}
{{- define "hnsguard.faultyNames" -}}
{{- $full := include "hnsguard.fullname" . -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $full) }}
the objects of the release would be called {{ $full | quote }}, which no Service can be: its name is made of lower-case letters, digits and "-", and begins with a letter. Set fullnameOverride to such a name
{{- end }}
{{- if and (not .Values.serviceAccount.create) (not .Values.serviceAccount.name) }}
serviceAccount.name is required when serviceAccount.create is false. Set it to the name of the account that you have made
{{- end }}
{{- with get (.Values.nodeSelector | default dict) "kubernetes.io/os" }}{{ if ne . "windows" }}
nodeSelector has kubernetes.io/os={{ . }}, but the agent runs on Windows nodes only. Remove it: the chart selects them
{{- end }}{{ end }}
{{- $own := keys (include "hnsguard.ownLabels" . | fromYaml) | sortAlpha -}}
{{- with .Values.metrics }}
{{- range $name, $labels := dict "commonLabels" $.Values.commonLabels "podLabels" $.Values.podLabels "metrics.service.labels" .service.labels
  "metrics.serviceMonitor.labels" .serviceMonitor.labels "metrics.podMonitor.labels" .podMonitor.labels
  "prometheusRule.labels" $.Values.prometheusRule.labels "dashboards.labels" $.Values.dashboards.labels -}}
{{- range $label := $own }}{{ if hasKey ($labels | default dict) $label }}
{{ $name }} has {{ $label }}, which the chart sets itself. Remove it
{{- end }}{{ end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "hnsguard.faultyMetrics" -}}
{{- $metrics := .Values.metrics -}}
{{- $service := $metrics.serviceMonitor -}}
{{- $pod := $metrics.podMonitor -}}
{{- if and $service.enabled $pod.enabled }}
metrics.serviceMonitor.enabled and metrics.podMonitor.enabled are both true: every node would be scraped twice. Enable one of them
{{- end }}
{{- if and $service.enabled (not $metrics.service.enabled) }}
metrics.serviceMonitor.enabled needs metrics.service.enabled: a ServiceMonitor finds its targets by a Service
{{- end }}
{{- if or $service.enabled $pod.enabled }}
{{- if not $metrics.enabled }}
a monitor is enabled, but metrics.enabled is false: there is nothing to scrape. Set metrics.enabled to true
{{- else if hasPrefix "127." (include "hnsguard.metricsBindAddress" .) }}
a monitor is enabled, but the metrics are served on loopback only, where no scraper can reach them. Set metrics.secure to true, or metrics.bindAddress to an address of the node
{{- end }}
{{- if and .Values.prometheusRule.enabled (not .Values.prometheusRule.job) (or (and $service.enabled $service.jobLabel) (and $pod.enabled $pod.jobLabel)) }}
jobLabel of the monitor takes the name of the scrape job from a label, which the alerts do not know. Set prometheusRule.job to a regular expression that matches it
{{- end }}
{{- end }}
{{- if and $pod.enabled $metrics.secure (not $pod.authorization) (not $metrics.scraper.createToken) }}
metrics.podMonitor needs metrics.podMonitor.authorization while metrics.secure is true: a PodMonitor cannot use Prometheus' own token. Name a Secret with a token there, set metrics.scraper.createToken to true, or use metrics.serviceMonitor
{{- end }}
{{- if and $metrics.scraper.createToken (not (and $metrics.enabled $metrics.secure $metrics.scraper.clusterRole)) }}
metrics.scraper.createToken is of no use without metrics.enabled, metrics.secure and metrics.scraper.clusterRole. Set all to true, or createToken to false
{{- end }}
{{- if and $metrics.certSecret (not $metrics.secure) }}
metrics.certSecret is of no use while metrics.secure is false: plain HTTP has no certificate. Set metrics.secure to true, or leave the Secret out
{{- end }}
{{- end }}

{{/* Ports that are used twice, and those that would be open to others than they should be. */}}
{{- define "hnsguard.faultyPorts" -}}
{{- $metrics := .Values.metrics -}}
{{- if eq (int64 $metrics.port) (int64 .Values.probes.port) }}
metrics.port and probes.port are both {{ int64 $metrics.port }}: one process cannot listen twice on one port. Change one of them
{{- end }}
{{- if and .Values.page.enabled (has (int64 .Values.page.port) (list (int64 $metrics.port) (int64 .Values.probes.port))) }}
page.port is {{ int64 .Values.page.port }}, as is metrics.port or probes.port: one process cannot listen twice on one port. Change one of them
{{- end }}
{{- if and (include "hnsguard.pageIsPublic" .) (not (and $metrics.enabled $metrics.secure)) }}
page.bindAddress is not on loopback, but the metrics are not served securely: the page has no certificate and no authorization of its own. Set metrics.enabled and metrics.secure to true, or leave page.bindAddress empty
{{- end }}
{{- if and .Values.firewall.enabled (not .Values.firewall.remoteAddresses) }}
firewall.enabled needs firewall.remoteAddresses: by default no rule admits every address. Name the ranges that scrapers come from
{{- end }}
{{- if and .Values.firewall.enabled (not $metrics.enabled) }}
firewall.enabled is true, but metrics.enabled is false: there is no port to open. Set one of them to the other's value
{{- end }}
{{- end }}

{{/* Address ranges that the agent refuses at its start, or netsh. What is let pass has nothing that cmd.exe takes for its
own. The agent alone finds IPv6 ranges with bits set after their length. */}}
{{- define "hnsguard.faultyRanges" -}}
{{- $byte := "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])" -}}
{{- range $name, $ranges := dict "config.exclusions" .Values.config.exclusions "firewall.remoteAddresses" .Values.firewall.remoteAddresses -}}
{{- range $ranges -}}
{{- $ip := splitList "/" . | first -}}
{{- $v4 := regexMatch (printf "^(%[1]s[.]){3}%[1]s(/(3[0-2]|[12]?[0-9]))?$" $byte) . -}}
{{- $long := regexMatch "^([0-9a-fA-F]+:){7}[0-9a-fA-F]+$" $ip -}}
{{- $short := and (contains "::" $ip) (not (regexMatch "([0-9a-fA-F]+:+){7}[0-9a-fA-F]" $ip)) -}}
{{- $odd := regexMatch ":::|::.*::|[0-9a-fA-F]{5}|^:[^:]|[^:]:$" $ip -}}
{{- $v6 := and (regexMatch "^[0-9a-fA-F:]+(/(12[0-8]|1[01][0-9]|[1-9]?[0-9]))?$" .) (or $long $short) (not $odd) -}}
{{- if not (or $v4 $v6) }}
{{ $name }} has {{ . | quote }}, which is neither an address nor a range. Write it as 10.0.0.0/8, 10.0.0.7 or fd00::/64
{{- else if and (hasSuffix "/0" .) (hasPrefix "firewall" $name) }}
{{ $name }} has {{ . }}, which admits every address. Name the ranges that scrapers come from
{{- else if and $v4 (contains "/" .) -}}
{{- $number := 0 }}{{ range splitList "." $ip }}{{ $number = add (mul $number 256) (atoi .) }}{{ end -}}
{{- $size := 1 }}{{ range until (splitList "/" . | last | atoi | sub 32 | int) }}{{ $size = mul $size 2 }}{{ end -}}
{{- if mod $number $size }}
{{ $name }} has {{ . }}, whose address has bits set after its length. Name the first address of the range, or leave the length out
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* What further containers, variables and volumes are called as the chart's own are: Kubernetes refuses that after half of
the objects were created, or lets one of them win. */}}
{{- define "hnsguard.faultyExtras" -}}
{{- with (include (print .Template.BasePath "/daemonset.yaml") . | fromYaml).spec.template.spec -}}
{{- range $value, $all := dict "extraEnv" (first .containers).env "extraVolumes" .volumes "extraVolumeMounts" (first .containers).volumeMounts
  "extraContainers and extraInitContainers" (concat .containers (.initContainers | default list)) -}}
{{- $seen := list -}}
{{- range $all -}}
{{- $name := .mountPath | default .name -}}
{{- if has $name $seen }}
{{ $value }}: {{ $name }} is there twice, or the chart has one itself. Remove it, or give it another name
{{- end -}}
{{- $seen = append $seen $name -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* The agent refuses durations out of range at its start. A schema cannot compare durations, so they are refused here
first. The ranges are those of the agent; a test compares them. */}}
{{- define "hnsguard.faultyDurations" -}}
{{- $config := . -}}
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
{{- if and $value (or (lt $seconds (include "hnsguard.seconds" $least | float64)) (gt $seconds (include "hnsguard.seconds" $most | float64))) }}
config.{{ index . 0 }}.{{ index . 1 }} is {{ $value }}, but must be between {{ $least }} and {{ $most }}
{{- end }}
{{- end }}
{{- range list
  (list "orphan" "gracePeriodWhileWaiting" "gracePeriod")
  (list "poll" "fastInterval" "slowInterval")
-}}
{{- $value := dig (index . 0) (index . 1) "" $config -}}
{{- $bound := dig (index . 0) (index . 2) "" $config -}}
{{- if and $value $bound (gt (include "hnsguard.seconds" $value | float64) (include "hnsguard.seconds" $bound | float64)) }}
config.{{ index . 0 }}.{{ index . 1 }} is {{ $value }}, but must not be longer than config.{{ index . 0 }}.{{ index . 2 }}, which is {{ $bound }}
{{- end }}
{{- end }}
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
