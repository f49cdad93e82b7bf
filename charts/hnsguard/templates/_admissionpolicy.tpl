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

{{/* What an object may have of metadata: (list "[names of further fields]"). The API server sets the others; every watcher
gets, and etcd keeps, what is allowed here. */}}
{{- define "hnsguard.policyMetadata" }}
    - expression: >-
        request.operation == 'DELETE' || dyn(object.metadata).all(field, field in ['name', 'namespace', 'uid',
        'resourceVersion', 'generation', 'creationTimestamp', 'deletionTimestamp', 'deletionGracePeriodSeconds',
        'managedFields'] || field in {{ index . 0 }})
      message: hnsguard may only write its own metadata, without annotations and finalizers
    # Clients may write managed fields of any size. Those of one writer, and as deep as they are in what the agent writes.
    - expression: >-
        request.operation == 'DELETE' || object.metadata.?managedFields.orValue([]).size() <= 1 &&
        object.metadata.?managedFields.orValue([]).map(entry, dyn(entry.fieldsV1)).all(fields,
        fields.size() <= 20 && fields.all(a, a.size() <= 100 && dyn(fields[a]).size() <= 5 &&
        dyn(fields[a]).all(b, b.size() <= 100 && dyn(fields[a][b]).size() <= 5 &&
        dyn(fields[a][b]).all(c, c.size() <= 100 && dyn(fields[a][b][c]).size() == 0))))
      message: hnsguard may only leave the managed fields of its own write
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
