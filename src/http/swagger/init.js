// Shows the description of this gateway's API. The address is relative, so that the page works
// below a prefix too.
window.addEventListener("load", () => {
  window.ui = SwaggerUIBundle({
    url: "../../openapi.json",
    dom_id: "#swagger-ui",
    deepLinking: true,
    displayRequestDuration: true,
    // The description is not sent to a validator on another machine.
    validatorUrl: null,
  });
});
