{{/*
What the operator may do where pools live. docs/rbac.md gives the reason for each rule; a test compares the two.
Server-side apply needs "create" and "patch"; nothing is deleted as a collection.
*/}}
{{- define "smtpfleet.operatorRules" -}}
- apiGroups: [smtpfleet.io]
  resources: [smtppools]
  verbs: [get, list, watch, patch]
- apiGroups: [smtpfleet.io]
  resources: [smtppools/status]
  verbs: [patch]
- apiGroups: [smtpfleet.io]
  resources: [smtppools/finalizers]
  verbs: [update]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services, persistentvolumeclaims]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [configmaps, secrets, serviceaccounts]
  verbs: [get, list, watch, create, patch]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, delete]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  verbs: [get, list, watch, create, patch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end -}}

{{/* What the operators of one release do among themselves, in their own namespace. */}}
{{- define "smtpfleet.leaseRules" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "smtpfleet.fullname" . }}]
  verbs: [get, update]
{{- end -}}
