{{/*
What the operator does where agents live. Equal to operator/permissions.ts, held by test/chart/rbac.test.ts. Secrets are
absent on purpose: a missing one shows in the pod's status.
*/}}
{{- define "supercargo.operatorAgentRules" -}}
- apiGroups: [supercargo.dev]
  resources: [agentdeployments]
  verbs: [get, list, watch]
- apiGroups: [supercargo.dev]
  resources: [agentdeployments/status]
  verbs: [get, patch, update]
- apiGroups: [supercargo.dev]
  resources: [agentdeployments/finalizers]
  verbs: [update]
- apiGroups: [supercargo.dev]
  resources: [podusages]
  verbs: [get, list, watch, create, patch]
# What people decided is evidence: kept for a time, then deleted. The operator neither asks nor decides.
- apiGroups: [supercargo.dev]
  resources: [approvals]
  verbs: [get, list, watch, delete]
- apiGroups: [""]
  resources: [configmaps, persistentvolumeclaims, serviceaccounts, services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [rolebindings]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
# A missing Secret shows only in the kubelet's event on the pod; the Secret itself is nobody's to read.
- apiGroups: [""]
  resources: [events]
  verbs: [list]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}

{{/* What the operator does in the cluster as a whole, whatever the namespaces. */}}
{{- define "supercargo.operatorClusterRules" -}}
- apiGroups: [supercargo.dev]
  resources: [usageledgers]
  verbs: [get, list, watch]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [clusterroles]
  resourceNames: [{{ include "supercargo.sidecarClusterRole" . }}, {{ include "supercargo.orchestratorClusterRole" . }}]
  verbs: [bind]
# The issuer's keys, which the operator hands to the pods: with them a pod verifies another pod's token on its own.
- nonResourceURLs: [/.well-known/openid-configuration, /openid/v1/jwks]
  verbs: [get]
{{- end -}}
