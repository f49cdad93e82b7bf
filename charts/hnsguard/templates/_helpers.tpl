{{/* SPDX-License-Identifier: Apache-2.0 */}}

{{/* The name of the chart. */}}
{{- define "hnsguard.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{/* The name of the release's objects. With "-metrics" it is that of a Service, which has 63 characters at most. */}}
{{- define "hnsguard.fullname" -}}
{{- $name := include "hnsguard.name" . -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- .Values.fullnameOverride | default $full | trunc 55 | trimSuffix "-" -}}
{{- end }}

{{/* The namespace of the release's objects. */}}
{{- define "hnsguard.namespace" -}}
{{- .Values.namespaceOverride | default .Release.Namespace -}}
{{- end }}

{{/* What tells the release's pods from others. It can never change. */}}
{{- define "hnsguard.selectorLabels" -}}
app.kubernetes.io/name: {{ include "hnsguard.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{/* The labels that every object has. */}}
{{- define "hnsguard.ownLabels" -}}
{{ include "hnsguard.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* Maps of which the first wins, without doubled keys: (list $map ...). A value that was left empty is no map. */}}
{{- define "hnsguard.merged" -}}
{{- $all := dict -}}
{{- range . }}{{ $all = merge $all (. | default dict) }}{{ end -}}
{{- with $all }}{{ toYaml . }}{{ end -}}
{{- end }}

{{/* The labels of an object: (list $ $labels). */}}
{{- define "hnsguard.labels" -}}
{{- $ := index . 0 -}}
{{- include "hnsguard.merged" (list (include "hnsguard.ownLabels" $ | fromYaml) (index . 1) $.Values.commonLabels) -}}
{{- end }}

{{/* The metadata of an object: (list $ "suffix of the name" $labels $annotations "namespace"). The last three may be left
out; the namespace "-" is that of an object without one. */}}
{{- define "hnsguard.metadata" -}}
{{- $ := index . 0 -}}
{{- $namespace := "" }}{{ if gt (len .) 4 }}{{ $namespace = index . 4 }}{{ end -}}
name: {{ include "hnsguard.fullname" $ }}{{ with index . 1 }}-{{ . }}{{ end }}
{{- if ne $namespace "-" }}
namespace: {{ $namespace | default (include "hnsguard.namespace" $) }}
{{- end }}
{{- $labels := dict }}{{ if gt (len .) 2 }}{{ $labels = index . 2 }}{{ end }}
labels:
  {{- include "hnsguard.labels" (list $ $labels) | nindent 2 }}
{{- $annotations := dict }}{{ if gt (len .) 3 }}{{ $annotations = index . 3 }}{{ end }}
{{- with include "hnsguard.merged" (list $annotations $.Values.commonAnnotations) }}
annotations:
  {{- . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "hnsguard.serviceAccountName" -}}
{{- default (include "hnsguard.fullname" .) .Values.serviceAccount.name -}}
{{- end }}

{{/* The account that the admission policies restrict. DaemonSet and policies take its name from one place: a policy for
another account would restrict nothing, and no error would show it. */}}
{{- define "hnsguard.username" -}}
system:serviceaccount:{{ include "hnsguard.namespace" . }}:{{ include "hnsguard.serviceAccountName" . }}
{{- end }}

{{- define "hnsguard.image" -}}
{{- with .Values.image -}}
{{- printf "%s/%s" (($.Values.global).imageRegistry | default .registry) .repository -}}
{{- if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end -}}
{{- end -}}
{{- end }}

{{/* The pull secrets of this chart, and those of a parent chart, which may name them without an object. */}}
{{- define "hnsguard.imagePullSecrets" -}}
{{- $names := list -}}
{{- range concat (.Values.imagePullSecrets | default list) ((.Values.global).imagePullSecrets | default list) -}}
{{- $names = append $names (ternary . (get (ternary dict . (kindIs "string" .)) "name") (kindIs "string" .)) -}}
{{- end -}}
{{- with uniq $names -}}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end -}}
{{- end }}

{{/* The program. The runtime puts the container's root in the place of the variable, with containerd 1.6 as with 1.7, so
that nothing has to be found by the host's PATH. */}}
{{- define "hnsguard.exe" -}}
%CONTAINER_SANDBOX_MOUNT_POINT%\hnsguard.exe
{{- end }}

{{/* A command that runs netsh with each of the given lines of arguments and succeeds whatever netsh says: metrics are not
worth a node without its guard. The runtime quotes the last word, and /s makes cmd.exe take just these quotes off; so the
lines must have none, and nothing that cmd.exe takes for its own. Schema and validation see to that. */}}
{{- define "hnsguard.netsh" -}}
{{- $lines := list -}}
{{- range . }}{{ $lines = append $lines (printf `C:\Windows\System32\netsh.exe advfirewall firewall %s` .) }}{{ end -}}
{{- list `C:\Windows\System32\cmd.exe` "/d" "/s" "/c" (append $lines "exit /b 0" | join " & ") | toRawJson -}}
{{- end }}

{{/* What netsh deletes and adds the rule with that lets scrapers connect. It deletes all rules with the name, and takes
"all" for all rules that exist: the schema has every name begin with hnsguard. */}}
{{- define "hnsguard.deleteRule" -}}
delete rule name={{ .Values.firewall.ruleName }}
{{- end }}
{{- define "hnsguard.addRule" -}}
add rule name={{ .Values.firewall.ruleName }} dir=in action=allow enable=yes profile=any protocol=TCP localport={{ .Values.metrics.port }} remoteip={{ join "," .Values.firewall.remoteAddresses }}
{{- end }}

{{/* The configuration file. */}}
{{- define "hnsguard.config" -}}
apiVersion: hnsguard.io/v1alpha1
kind: Configuration
{{ toYaml .Values.config }}
{{- end }}

{{/* Whether a class of acts is enforced: (list $ "class"). Empty means that it is not. */}}
{{- define "hnsguard.enforces" -}}
{{- $config := (index . 0).Values.config -}}
{{- if and (eq $config.mode "enforce") (eq (index $config (index . 1)).mode "enforce") }}true{{ end -}}
{{- end }}

{{- define "hnsguard.metricsBindAddress" -}}
{{- with .Values.metrics -}}
{{- if not .enabled -}}
0
{{- else -}}
{{- .bindAddress | default (printf "%s:%v" (ternary "" "127.0.0.1" .secure) .port) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "hnsguard.pageBindAddress" -}}
{{- with .Values.page -}}
{{- if not .enabled -}}
0
{{- else -}}
{{- .bindAddress | default (printf "127.0.0.1:%v" .port) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Whether others than the node's own processes can connect to the page. Empty means that they cannot. */}}
{{- define "hnsguard.pageIsPublic" -}}
{{- if and .Values.page.enabled (not (regexMatch "^(127[.][0-9.]+|localhost|\\[::1\\]):" (include "hnsguard.pageBindAddress" .))) }}true{{ end -}}
{{- end }}

{{/* Where a given certificate for the metrics is mounted. */}}
{{- define "hnsguard.metricsCertDir" -}}
/etc/hnsguard-metrics-cert
{{- end }}

{{/* What the containers that run hnsguard have in common; the arguments follow. */}}
{{- define "hnsguard.container" -}}
image: {{ include "hnsguard.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
command: [{{ include "hnsguard.exe" . | squote }}]
{{- end }}

{{/* The security context of the release's pods. */}}
{{- define "hnsguard.podSecurityContext" -}}
windowsOptions:
  hostProcess: true
  runAsUserName: {{ .Values.runAsUserName | squote }}
{{- end }}

{{/* Where the release's pods run. */}}
{{- define "hnsguard.placement" -}}
nodeSelector:
  {{- include "hnsguard.merged" (list (dict "kubernetes.io/os" "windows") .Values.nodeSelector) | nindent 2 }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
affinity:
  {{- include "hnsguard.affinity" . | nindent 2 }}
{{- end }}

{{/* The given affinity, and not to virtual nodes: they run no HostProcess pods, and the default tolerations let pods be
bound to them. A node has to match one of the given terms, so that this is added to each. A term that is empty matches no
node, and stays so. */}}
{{- define "hnsguard.affinity" -}}
{{- $real := list
  (dict "key" "type" "operator" "NotIn" "values" (list "virtual-kubelet"))
  (dict "key" "eks.amazonaws.com/compute-type" "operator" "NotIn" "values" (list "fargate"))
-}}
{{- $node := (.Values.affinity).nodeAffinity | default dict -}}
{{- $required := $node.requiredDuringSchedulingIgnoredDuringExecution -}}
{{- $terms := list -}}
{{- range ($required).nodeSelectorTerms | default (list (dict "matchExpressions" list)) -}}
{{- $both := concat ((.).matchExpressions | default list) $real -}}
{{- $terms = append $terms (ternary . (merge (dict "matchExpressions" $both) (. | default dict)) (empty .)) -}}
{{- end -}}
{{- $required = dict "requiredDuringSchedulingIgnoredDuringExecution" (dict "nodeSelectorTerms" $terms) -}}
{{- toYaml (merge (dict "nodeAffinity" (merge $required $node)) (.Values.affinity | default dict)) -}}
{{- end }}

{{/* How a scraper is to check who answers: (list $ $tlsConfig). */}}
{{- define "hnsguard.tlsConfig" -}}
{{- $ := index . 0 -}}
{{- if index . 1 -}}
{{- toYaml (index . 1) -}}
{{- else if $.Values.metrics.certSecret -}}
ca:
  secret:
    name: {{ $.Values.metrics.certSecret }}
    key: ca.crt
serverName: {{ include "hnsguard.fullname" $ }}-metrics.{{ include "hnsguard.namespace" $ }}.svc
{{- else -}}
insecureSkipVerify: true
{{- end -}}
{{- end }}

{{/* What a monitor has besides its selector and endpoints: (list $ $monitor). */}}
{{- define "hnsguard.monitor" -}}
{{- $ := index . 0 -}}
{{- with index . 1 -}}
namespaceSelector:
  matchNames: [{{ include "hnsguard.namespace" $ }}]
{{- with .jobLabel }}
jobLabel: {{ . }}
{{- end }}
{{- with .podTargetLabels }}
podTargetLabels:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .attachMetadata }}
attachMetadata:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .sampleLimit }}
sampleLimit: {{ int64 . }}
{{- end }}
{{- with .targetLimit }}
targetLimit: {{ int64 . }}
{{- end }}
{{- end -}}
{{- end }}

{{/* The endpoint of a monitor: (list $ $monitor). */}}
{{- define "hnsguard.monitorEndpoint" -}}
{{- $ := index . 0 -}}
{{- with index . 1 -}}
port: metrics
scheme: {{ ternary "https" "http" $.Values.metrics.secure }}
{{- if $.Values.metrics.secure }}
tlsConfig:
  {{- include "hnsguard.tlsConfig" (list $ .tlsConfig) | nindent 2 }}
{{- end }}
{{- if .authorization }}
authorization:
  {{- toYaml .authorization | nindent 2 }}
{{- else if include "hnsguard.scraperToken" $ }}
authorization:
  credentials:
    name: {{ include "hnsguard.fullname" $ }}-scraper
    key: token
{{- else if and $.Values.metrics.secure .bearerTokenFile }}
bearerTokenFile: {{ .bearerTokenFile }}
{{- end }}
{{- with .proxyUrl }}
proxyUrl: {{ . }}
{{- end }}
{{- with .interval }}
interval: {{ . }}
{{- end }}
{{- with .scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
relabelings:
  - sourceLabels: [__meta_kubernetes_pod_node_name]
    targetLabel: node
  {{- with .relabelings }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}

{{/* Whether the release has an account for scraping, with a Secret of its token. Empty means that it has none. */}}
{{- define "hnsguard.scraperToken" -}}
{{- with .Values.metrics }}{{ if and .enabled .secure .scraper.createToken }}true{{ end }}{{ end -}}
{{- end }}

{{/* Where that account is: the Prometheus operator reads Secrets in the namespace of the monitor that names them. */}}
{{- define "hnsguard.scraperNamespace" -}}
{{- $monitor := .Values.metrics.serviceMonitor }}{{ if .Values.metrics.podMonitor.enabled }}{{ $monitor = .Values.metrics.podMonitor }}{{ end -}}
{{- $monitor.namespace | default (include "hnsguard.namespace" .) -}}
{{- end }}

{{/* What every alert has in common: (list $ $alert). */}}
{{- define "hnsguard.alert" -}}
{{- $ := index . 0 -}}
{{- with index . 1 -}}
for: {{ .for }}
labels:
  severity: {{ .severity }}
  {{- with $.Values.prometheusRule.alertLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- end }}

{{/* The names of the scrape jobs, as a regular expression: what the Prometheus operator calls those of the ServiceMonitor
and the PodMonitor, and the name in docs/metrics.md#scrape-them. */}}
{{- define "hnsguard.scrapeJobs" -}}
{{- with .Values.prometheusRule.job -}}
{{- . -}}
{{- else -}}
{{- $full := include "hnsguard.fullname" . -}}
{{- printf "%s-metrics|%s/%s|hnsguard" $full (.Values.metrics.podMonitor.namespace | default (include "hnsguard.namespace" .)) $full -}}
{{- end -}}
{{- end }}

{{/* The versions of kube-proxy with the stale-record fault. A test compares them with what the program knows. */}}
{{- define "hnsguard.staleRecordVersions" -}}
v?1[.](31[.][0-8]|32[.][0-4]|33[.]0)([^0-9].*)?
{{- end }}
