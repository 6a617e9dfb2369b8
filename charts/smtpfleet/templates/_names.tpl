{{/* Name of the release's objects: the chart's name once, not twice. */}}
{{- define "smtpfleet.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What never changes in the life of a release: a Deployment's selector is immutable. */}}
{{- define "smtpfleet.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "smtpfleet.labels" -}}
{{ include "smtpfleet.selectorLabels" . }}
app.kubernetes.io/part-of: {{ .Chart.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Labels of the test's objects: the operator's Service, budget and policy must not select its pod. */}}
{{- define "smtpfleet.testLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: test
{{- end -}}

{{/* Reference of an image: (dict "root" $ "name" "relay"). */}}
{{- define "smtpfleet.image" -}}
{{- $whole := get .root.Values.images .name -}}
{{- $image := .root.Values.image -}}
{{- $whole | default (printf "%s/smtpfleet-%s:%s" $image.registry .name ($image.tag | default .root.Chart.AppVersion)) -}}
{{- end -}}

{{- define "smtpfleet.testNamespace" -}}
{{- .Values.test.namespace | default .Values.watchNamespace | default .Release.Namespace -}}
{{- end -}}

{{/* Pod Security "restricted" for a container: everything that Python needs is readable, /tmp is a volume. */}}
{{- define "smtpfleet.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "smtpfleet.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65534
runAsGroup: 65534
seccompProfile:
  type: RuntimeDefault
{{- end -}}
