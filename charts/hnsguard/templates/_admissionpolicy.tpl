{{/* SPDX-License-Identifier: Apache-2.0 */}}

{{/* The parts that the admission policies have in common. */}}

{{- define "hnsguard.policyFor" }}
  matchConditions:
    - name: hnsguard
      expression: request.userInfo.username == {{ include "hnsguard.username" . | squote }}
{{- end }}

{{- define "hnsguard.policyNode" }}
  variables:
    - name: node # which the token's pod is on
      expression: request.userInfo.extra[?'authentication.kubernetes.io/node-name'][0].orValue('')
{{- end }}

{{- define "hnsguard.policyNodeKnown" }}
    - expression: variables.node != ''
      message: the token of hnsguard's account is not that of a pod on a node
{{- end }}
{{/* The binding of a policy: (list $ "suffix of its name"). */}}
{{- define "hnsguard.policyBinding" }}
{{- $ := index . 0 }}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  {{- include "hnsguard.metadata" (list $ (index . 1) dict dict "-") | nindent 2 }}
spec:
  policyName: {{ include "hnsguard.fullname" $ }}-{{ index . 1 }}
  validationActions: [Deny]
{{- end }}
