// The key of a visitor stays in the memory of this page: nothing is stored, and requests go to
// this origin only (see the policy in docs_page.py).
window.ui = SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  docExpansion: "none",
  persistAuthorization: false,
  validatorUrl: null,
  withCredentials: false,
  tryItOutEnabled: true,
});
